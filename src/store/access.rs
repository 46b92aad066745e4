//! Keys for the HTTP door: made, found, revoked; and what a partner's key sees, which Postgres enforces.

use super::{StoreError, begin_read};
use crate::domain::access::Scope;
use crate::domain::hex::hex;
use crate::domain::ids::PartyId;
use crate::domain::period::Instant;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use std::collections::BTreeSet;

/// What every key begins with, so that one which leaked is recognised.
const PREFIX: &str = "apk_";

/// A key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ApiKey {
    pub key_id: String,
    /// Who acts by it.
    pub holder: String,
    pub scopes: BTreeSet<Scope>,
    /// Whose rows alone it sees; absent: it sees all.
    pub party: Option<PartyId>,
    pub created_at: Instant,
    pub created_by: String,
    pub expires_at: Option<Instant>,
    pub revoked_at: Option<Instant>,
}

/// A key that is to be made.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    pub holder: String,
    pub scopes: BTreeSet<Scope>,
    pub party: Option<PartyId>,
    pub expires_at: Option<Instant>,
    pub created_by: String,
}

/// Makes a key. Its text is returned once and stored nowhere: `apk_` with its id and its secret.
///
/// # Errors
/// The database's, which refuses an unknown party and scopes that a partner may not have.
pub async fn create_key(pool: &PgPool, new: &NewApiKey) -> Result<String, StoreError> {
    let mut random = [0_u8; 40];
    getrandom::fill(&mut random).map_err(|error| StoreError::Randomness { problem: error.to_string() })?;
    let (id, secret) = random.split_at(8);
    let (id, secret) = (hex(id), hex(secret));
    let digest = Sha256::digest(&secret);
    let scopes: Vec<String> = new.scopes.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "insert into api_key (key_id, secret_sha256, holder, scopes, party, created_at, created_by, expires_at)
         values ($1, $2, $3, $4, $5, clock_timestamp(), $6, $7)",
        id,
        digest.as_slice(),
        new.holder,
        &scopes,
        new.party.as_ref().map(PartyId::as_str),
        new.created_by,
        new.expires_at
    )
    .execute(pool)
    .await?;
    Ok(format!("{PREFIX}{id}_{secret}"))
}

/// All keys, the newest first.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn list_keys(pool: &PgPool) -> Result<Vec<ApiKey>, StoreError> {
    let rows = sqlx::query!(
        "select k.key_id, k.holder, k.scopes, k.party, k.created_at, k.created_by, k.expires_at,
                r.revoked_at as \"revoked_at?\"
         from api_key k left join api_key_revocation r using (key_id) order by k.created_at desc, k.key_id"
    )
    .fetch_all(pool)
    .await?;
    let keys = rows.into_iter().map(|row| {
        Ok(ApiKey {
            scopes: parse_scopes(&row.key_id, &row.scopes)?,
            key_id: row.key_id,
            holder: row.holder,
            party: row.party.map(PartyId::new),
            created_at: row.created_at,
            created_by: row.created_by,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        })
    });
    keys.collect()
}

fn parse_scopes(key_id: &str, names: &[String]) -> Result<BTreeSet<Scope>, StoreError> {
    names.iter().map(|name| StoreError::decoded("api_key.scopes", key_id, name.parse())).collect()
}

/// Revokes a key; says whether there is one of that id. Revoking it again changes nothing.
///
/// # Errors
/// The database's.
pub async fn revoke_key(pool: &PgPool, key_id: &str, by: &str) -> Result<bool, StoreError> {
    sqlx::query!(
        "insert into api_key_revocation (key_id, revoked_at, revoked_by)
         select key_id, clock_timestamp(), $2 from api_key where key_id = $1 on conflict do nothing",
        key_id,
        by
    )
    .execute(pool)
    .await?;
    let known = sqlx::query_scalar!(r#"select exists (select from api_key where key_id = $1) as "known!""#, key_id);
    Ok(known.fetch_one(pool).await?)
}

/// The key of a text, if it is one that holds now.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn find_key(pool: &PgPool, text: &str) -> Result<Option<Caller>, StoreError> {
    let Some((key_id, secret)) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) else {
        return Ok(None);
    };
    let digest = Sha256::digest(secret);
    // Digests are compared: how long that takes tells nothing of the secret.
    let row = sqlx::query!(
        "select holder, scopes, party from api_key k
         where key_id = $1 and secret_sha256 = $2 and (expires_at is null or expires_at > clock_timestamp())
           and not exists (select from api_key_revocation r where r.key_id = k.key_id)",
        key_id,
        digest.as_slice()
    )
    .fetch_optional(pool)
    .await?;
    let caller = row.map(|row| {
        let scopes = parse_scopes(key_id, &row.scopes)?;
        Ok(Caller { key_id: key_id.to_owned(), holder: row.holder, scopes, party: row.party.map(PartyId::new) })
    });
    caller.transpose()
}

/// Who asks: the holder of a key that holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub key_id: String,
    pub holder: String,
    pub scopes: BTreeSet<Scope>,
    pub party: Option<PartyId>,
}

/// Who does something, and with which key where it came over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub name: String,
    pub key_id: Option<String>,
    /// The party that the key is bound to.
    pub party: Option<PartyId>,
}

impl From<&str> for Signature {
    /// At the command line, which knows no keys.
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), key_id: None, party: None }
    }
}

impl From<&Caller> for Signature {
    fn from(caller: &Caller) -> Self {
        let Caller { key_id, holder, party, .. } = caller;
        Self { name: holder.clone(), key_id: Some(key_id.clone()), party: party.clone() }
    }
}

impl Caller {
    /// A transaction that reads one state of the database and, for a partner's key, only what concerns that party.
    ///
    /// # Errors
    /// The database's.
    pub async fn read(&self, pool: &PgPool) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut transaction = begin_read(pool).await?;
        self.look(&mut transaction).await?;
        Ok(transaction)
    }

    /// From here on a transaction sees, for a partner's key, only what concerns that party: until it ends, or
    /// [`look_away`].
    ///
    /// # Errors
    /// The database's.
    pub async fn look(&self, conn: &mut PgConnection) -> Result<(), StoreError> {
        if let Some(party) = &self.party {
            // The role has no way back to ours within a query.
            sqlx::query_scalar!("select set_config('apportion.party', $1, true)", party.as_str())
                .fetch_one(&mut *conn)
                .await?;
            sqlx::query!("set local role apportion_partner").execute(conn).await?;
        }
        Ok(())
    }
}

/// Ends what [`Caller::look`] began: the transaction sees and writes everything again.
///
/// # Errors
/// The database's.
pub async fn look_away(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("reset role").execute(conn).await?;
    Ok(())
}
