//! How files of usage are read: the options that say so, which several commands have, and how far one is.

use super::Stop;
use apportion::ingest::file::{FileReader, Layout, Progress};
use apportion::sources::{self, Reader};
use chrono_tz::Tz;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;

/// The options.
#[derive(Debug, clap::Args)]
pub struct Reading {
    /// As what the records are read: cloudevents, bedrock_invocation and so on, as README.md lists them
    #[arg(long = "as", value_name = "FORMAT", value_parser = str::parse::<sources::Format>, default_value = "cloudevents")]
    read_as: sources::Format,
    /// How records are laid out, where the file's name does not tell: lines, csv, parquet, or whole for a file that is one message
    #[arg(long, value_parser = str::parse::<Layout>)]
    layout: Option<Layout>,
    /// A column of a table that is not to be read, or '*' for all that are none of the format; may be given more than once
    #[arg(long = "skip-column", value_name = "COLUMN")]
    skipped_columns: Vec<String>,
    /// The source of records that name none: ids are unique within it, for ever
    #[arg(long)]
    source: Option<String>,
    /// The zone of times that name none; without it these are rejected
    #[arg(long)]
    zone: Option<Tz>,
    /// The deployment of records that name none
    #[arg(long)]
    deployment: Option<String>,
    /// The product of records that name none
    #[arg(long)]
    product: Option<String>,
    /// The customer of records that name none
    #[arg(long)]
    customer: Option<String>,
    /// A tag of the callers' own that names the customer; of several the first that is there holds
    #[arg(long = "customer-tag", value_name = "TAG")]
    customer_tags: Vec<String>,
}

impl Reading {
    /// How the files are read, as a topic of their format and source would be.
    ///
    /// # Errors
    /// Options that contradict each other or the configuration.
    pub fn file_reader(self, configured: &[Reader]) -> Result<FileReader, Stop> {
        let reader = reader(&self, configured)?;
        Ok(FileReader { reader, layout: self.layout, skipped_columns: self.skipped_columns })
    }
}

/// How far a file is. Hidden where standard error is no terminal.
pub struct Bar(ProgressBar);

impl Bar {
    /// # Errors
    /// None that happen: the template is ours.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}")?;
        let bar = ProgressBar::new(0).with_style(style);
        bar.set_message(path.display().to_string());
        Ok(Self(bar))
    }

    pub fn show(&self, progress: &Progress) {
        self.0.set_length(progress.bytes_total);
        self.0.set_position(progress.bytes_read);
    }

    pub fn end(self) {
        self.0.finish_and_clear();
    }
}

/// How records are read: as a topic of their format and source would be.
fn reader(args: &Reading, configured: &[Reader]) -> Result<Reader, Stop> {
    let (format, source) = (args.read_as, args.source.clone().unwrap_or_default());
    let refused = |reason: String| Err(Stop::Refused { reason });
    if format == sources::Format::CloudEvents {
        let given = [
            ("--source", args.source.is_some()),
            ("--zone", args.zone.is_some()),
            ("--deployment", args.deployment.is_some()),
            ("--product", args.product.is_some()),
            ("--customer", args.customer.is_some()),
            ("--customer-tag", !args.customer_tags.is_empty()),
        ];
        if let Some((option, _)) = given.iter().find(|(_, is_given)| *is_given) {
            return refused(format!(
                "{option} is for records of other formats that do not say it, and events of ours do; leave it out, or say \
                 with --as of which format these are"
            ));
        }
        return Ok(Reader::default());
    }
    let told = Reader {
        format,
        source: source.clone(),
        zone: args.zone,
        deployment: args.deployment.clone(),
        product: args.product.clone(),
        customer: args.customer.clone(),
        customer_tags: args.customer_tags.clone(),
    };
    let known = configured.iter().find(|known| (known.format, &known.source) == (format, &source));
    let bare = Reader { format, source, ..Reader::default() };
    match known {
        Some(known) if told == bare || told == *known => Ok(known.clone()),
        Some(_) => refused(format!(
            "the configuration reads {format} of source \"{}\" otherwise; leave out the options below --source, or \
             give these records a source of their own",
            told.source
        )),
        None if told.source.is_empty() && format != sources::Format::OpenMeter => {
            refused(format!("--source: {format} does not name the source of its records; say it"))
        }
        None => Ok(told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches as _};

    fn read(words: &[&str], configured: &[Reader]) -> Result<Reader, String> {
        let command = Reading::augment_args(clap::Command::new("ingest"));
        let words = ["ingest"].into_iter().chain(words.iter().copied());
        let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
        let args = Reading::from_arg_matches(&matches).expect("arguments");
        reader(&args, configured).map_err(|stop| stop.to_string())
    }

    #[test]
    fn records_are_read_as_those_of_a_topic_of_their_format_and_source() {
        let topic = Reader {
            format: sources::Format::BedrockInvocation,
            source: "aws".into(),
            customer_tags: vec!["tenant".into()],
            ..Reader::default()
        };
        let configured = [Reader::default(), topic.clone()];
        let words = ["--as", "bedrock_invocation", "--source", "aws"];
        assert_eq!(read(&words, &configured), Ok(topic.clone()));
        let tagged = [words.as_slice(), &["--customer-tag", "tenant"]].concat();
        assert_eq!((read(&tagged, &configured), read(&tagged, &[])), (Ok(topic.clone()), Ok(topic)));
        let other = read(&[words.as_slice(), &["--customer-tag", "team"]].concat(), &configured);
        assert!(other.as_ref().is_err_and(|why| why.contains("reads bedrock_invocation of source \"aws\" otherwise")));
        assert_eq!(read(&[], &configured), Ok(Reader::default()));
    }

    #[test]
    fn options_that_would_say_nothing_are_refused() {
        for (words, why) in [
            (["--deployment", "east"].as_slice(), "--deployment is for records of other formats"),
            (
                &["--product", "gpt"],
                "--product is for records of other formats that do not say it, and events of ours do",
            ),
            (&["--zone", "UTC"], "--zone is for records of other formats"),
            (&["--as", "vertex"], "--source: vertex does not name the source"),
            (&["--as", "xml"], "no format \"xml\"; there is cloudevents, bedrock_"),
            (&["--zone", "Mars/North"], "invalid value"),
        ] {
            let refused = read(words, &[]);
            assert!(refused.as_ref().is_err_and(|told| told.contains(why)), "{refused:?}");
        }
    }
}
