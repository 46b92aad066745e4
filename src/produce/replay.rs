//! Published traces as usage of configured deployments. Pure: rows in, messages out.

use super::message::{CloudEvent, Message, Mode};
use crate::domain::period::Instant;
use chrono::{LocalResult, NaiveDateTime, SecondsFormat, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// As whose usage a trace is replayed.
#[derive(Clone, Debug)]
pub struct Replay {
    pub deployment: String,
    pub product: String,
    /// The CloudEvents `source`.
    pub source: String,
    /// The zone of the trace's times, which name none.
    pub zone: Tz,
    /// Moves every instant by so many days of 24 hours; negative moves it back.
    pub shift_days: i64,
    /// The whole name of the Kafka topic.
    pub topic: String,
}

/// A row cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("the first line must be \"{AZURE_LLM_HEADER}\"")]
    WrongHeader,
    #[error("row {row}: {fault}")]
    WrongRow { row: u64, fault: &'static str },
    #[error("\"{name}\" has a quote, a backslash or a control character; an id or name here may have none")]
    WrongName { name: String },
}

/// The header of the Azure LLM inference trace of 2023.
const AZURE_LLM_HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";

impl Replay {
    /// Reads a whole file of the Azure LLM inference trace of 2023.
    ///
    /// The file's lines end with CR LF, the last with nothing. Times have seven fractional digits, of which
    /// six are kept. ContextTokens are reported as `input_tokens`, GeneratedTokens as `output_tokens`; a row
    /// is one request. The ids are `stem-000001` and so on by row: a second run gives known duplicates.
    ///
    /// # Errors
    /// A header, row or name that is not as described. Nothing is skipped.
    pub fn azure_llm_2023(&self, stem: &str, text: &str) -> Result<Vec<Message>, ReplayError> {
        for name in [&self.deployment, &self.product, &self.source, stem] {
            if name.chars().any(|letter| letter == '"' || letter == '\\' || letter.is_control()) {
                return Err(ReplayError::WrongName { name: name.to_owned() });
            }
        }
        let mut lines = text.lines();
        if lines.next() != Some(AZURE_LLM_HEADER) {
            return Err(ReplayError::WrongHeader);
        }
        let rows = (1_u64..).zip(lines.filter(|line| !line.is_empty()));
        rows.map(|(row, line)| self.message(stem, row, line).map_err(|fault| ReplayError::WrongRow { row, fault }))
            .collect()
    }

    fn message(&self, stem: &str, row: u64, line: &str) -> Result<Message, &'static str> {
        let mut fields = line.split(',');
        let mut next = || fields.next().ok_or("it has fewer than three fields");
        let at = self.instant(next()?)?;
        let tokens = |text: &str| text.parse::<u64>().map_err(|_| "a token count is no whole number");
        let (input, output) = (tokens(next()?)?, tokens(next()?)?);
        if fields.next().is_some() {
            return Err("it has more than three fields");
        }
        let id = format!("{stem}-{row:06}");
        let attributes = vec![
            ("id", id.clone()),
            ("source", self.source.clone()),
            ("type", "apportion.usage.v1".to_owned()),
            ("time", at.to_rfc3339_opts(SecondsFormat::Micros, true)),
        ];
        let data = format!(
            "{{\"deployment\":\"{}\",\"product\":\"{}\",\"service_tier\":\"default\",\"quantities\":\
             {{\"input_tokens\":{input},\"output_tokens\":{output},\"requests\":1}}}}",
            self.deployment, self.product
        );
        let event = Some(CloudEvent { attributes, data });
        Ok(Message { topic: self.topic.clone().into(), key: id, mode: Mode::Structured, event })
    }

    fn instant(&self, text: &str) -> Result<Instant, &'static str> {
        let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").map_err(|_| "its time is no time")?;
        let at = match self.zone.from_local_datetime(&local) {
            LocalResult::Single(at) => at.with_timezone(&Utc).trunc_subsecs(6),
            // Which of the two was meant cannot be known.
            LocalResult::Ambiguous(..) => return Err("its time comes twice in that zone"),
            LocalResult::None => return Err("its time does not exist in that zone"),
        };
        let shift = TimeDelta::try_days(self.shift_days).ok_or("the shift leaves the calendar")?;
        at.checked_add_signed(shift).ok_or("the shift leaves the calendar")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(text: &str, zone: Tz) -> Result<Vec<Message>, ReplayError> {
        let replay = Replay {
            deployment: "d".into(),
            product: "p".into(),
            source: "urn:s".into(),
            zone,
            shift_days: 2,
            topic: "usage.azure".into(),
        };
        replay.azure_llm_2023("conv", text)
    }

    #[test]
    fn a_row_is_one_request() {
        let text =
            "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805909,374,44\r\n2023-11-16 18:15:50,1,0";
        let messages = replay(text, Tz::UTC).expect("messages");
        assert_eq!(
            messages[0].line(),
            r#"{"specversion":"1.0","id":"conv-000001","source":"urn:s","type":"apportion.usage.v1","time":"2023-11-18T18:15:46.680590Z","data":{"deployment":"d","product":"p","service_tier":"default","quantities":{"input_tokens":374,"output_tokens":44,"requests":1}}}"#
        );
        assert_eq!((messages.len(), messages[1].key.as_str()), (2, "conv-000002"));
    }

    #[test]
    fn nothing_is_skipped() {
        let check = |row: &str, zone: Tz| {
            let text = format!("TIMESTAMP,ContextTokens,GeneratedTokens\r\n{row}");
            assert!(matches!(replay(&text, zone), Err(ReplayError::WrongRow { row: 1, .. })), "{row}");
        };
        check("2023-11-16 18:15:46,1", Tz::UTC);
        check("2023-11-16 18:15:46,1,2,3", Tz::UTC);
        check("2023-11-16 18:15:46,-1,2", Tz::UTC);
        check("2023-11-99 18:15:46,1,2", Tz::UTC);
        check("2023-11-05 01:30:00,1,2", chrono_tz::America::Los_Angeles);
        check("2023-03-12 02:30:00,1,2", chrono_tz::America::Los_Angeles);
        assert_eq!(replay("a,b\n", Tz::UTC), Err(ReplayError::WrongHeader));
    }
}
