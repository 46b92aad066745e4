//! Writes TOML as people do: a block a name, a field a line, inline tables and lists.

/// A quoted text.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for it in text.chars() {
        match it {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            it if it.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(it))),
            it => out.push(it),
        }
    }
    out.push('"');
    out
}

/// A key, in quotes where it has to be.
pub fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '-' || it == '_');
    if bare { name.to_owned() } else { quoted(name) }
}

/// An inline table of fields whose values are written already.
pub fn table(fields: &[(String, String)]) -> String {
    if fields.is_empty() {
        return "{}".to_owned();
    }
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{} = {value}", key(name))).collect();
    format!("{{ {} }}", fields.join(", "))
}

pub fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

/// One text, or a list of them.
pub fn one_or_more(texts: &[String]) -> String {
    match texts {
        [one] => quoted(one),
        more => list(more.iter().map(|text| quoted(text))),
    }
}

/// A field of an inline table.
pub fn field(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// `[kind.name]` and its fields, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    head: String,
    fields: Vec<(String, String)>,
}

impl Block {
    pub fn new(kind: &str, name: &str) -> Self {
        Self { head: format!("[{kind}.{}]", key(name)), fields: Vec::new() }
    }

    pub fn unnamed(kind: &str) -> Self {
        Self { head: format!("[{kind}]"), fields: Vec::new() }
    }

    /// Sets a field to a value that is written already.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.fields.push(field(name, value));
        self
    }

    pub fn set_text(&mut self, name: &str, text: &str) -> &mut Self {
        self.set(name, quoted(text))
    }

    pub fn set_if(&mut self, name: &str, value: Option<String>) -> &mut Self {
        if let Some(value) = value {
            self.set(name, value);
        }
        self
    }

    pub fn extend(&mut self, fields: Vec<(String, String)>) -> &mut Self {
        self.fields.extend(fields);
        self
    }

    pub fn text(&self) -> String {
        let fields: String = self.fields.iter().map(|(name, value)| format!("{} = {value}\n", key(name))).collect();
        format!("{}\n{fields}", self.head)
    }
}

/// Blocks in one fence.
pub fn fenced(blocks: &[Block]) -> String {
    let blocks: Vec<String> = blocks.iter().map(Block::text).collect();
    format!("```toml\n{}```\n", blocks.join("\n"))
}
