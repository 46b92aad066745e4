//! Invoices and credit notes as typeset PDF: an archivable file (PDF/A-3b) that carries its JSON document.

use super::amount::{exact, factors, measured, minor, money};
use super::canvas::{Canvas, Color, Line, Style, Weight};
use crate::domain::invoice::{Invoice, InvoiceKind, InvoiceLine, InvoiceParty, Payable};
use crate::domain::money::Exact;
use crate::domain::statement::LineDetail;
use chrono::{Datelike, NaiveDate, Timelike};
use krilla::configure::{Archival, ConfigurationBuilder};
use krilla::embed::{AssociationKind, EmbeddedFile, MimeType};
use krilla::metadata::{DateTime, Metadata};
use krilla::page::PageSettings;
use krilla::{Document, SerializeSettings};

#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    #[error("the document cannot be read: {0}")]
    Document(#[from] serde_json::Error),
    #[error("the PDF's font has no \"{character}\" (in \"{text}\"); take the JSON or CSV of this document instead")]
    NoGlyph { character: String, text: String },
    #[error("an embedded font cannot be read")]
    Font,
    #[error("the PDF cannot be written: {0}")]
    Written(String),
}

/// A4, in points, and what is left free at its sides and its foot.
const PAGE_WIDTH: f32 = 595.28;
const PAGE_HEIGHT: f32 = 841.89;
const LEFT: f32 = 62.0;
const RIGHT: f32 = PAGE_WIDTH - LEFT;
const BODY_END: f32 = PAGE_HEIGHT - 84.0;
/// Where the facts about a document begin, and the table's second column.
const FACTS: f32 = 330.0;
const ORIGIN: f32 = 352.0;
/// How much of a row stands on one page.
const KEPT_TOGETHER: f32 = 120.0;

const INK: Color = [26, 30, 38];
const GRAY: Color = [98, 106, 120];
const HAIRLINE: Color = [214, 219, 227];
const ACCENT: Color = [24, 62, 112];
const PANEL: Color = [244, 246, 249];

const fn regular(size: f32, color: Color) -> Style {
    Style { weight: Weight::Regular, size, color }
}

const fn semi_bold(size: f32, color: Color) -> Style {
    Style { weight: Weight::SemiBold, size, color }
}

const LABEL: Style = semi_bold(7.5, GRAY);
const SMALL: Style = regular(8.0, GRAY);
const BODY: Style = regular(9.5, INK);
const STRONG: Style = semi_bold(9.5, INK);

/// Typesets a document, given as it is stored. The same document gives the same bytes.
///
/// # Errors
/// A text that is no document, or that has letters which the font lacks.
pub fn pdf(content: &str) -> Result<Vec<u8>, PdfError> {
    let invoice: Invoice = serde_json::from_str(content)?;
    let canvas = Setter::set(&invoice)?;
    let archivable = ConfigurationBuilder::new().with_archival_validator(Archival::A3_B).finish();
    let configuration = archivable.map_err(|error| PdfError::Written(format!("{error:?}")))?;
    let size = PageSettings::from_wh(PAGE_WIDTH, PAGE_HEIGHT);
    let size = size.ok_or_else(|| PdfError::Written("its pages have no size".to_owned()))?;
    let mut document = Document::new_with(SerializeSettings { configuration, ..SerializeSettings::default() });
    canvas.draw(&mut document, &size);
    let at = time(&invoice);
    let metadata = Metadata::new()
        .title(format!("{} {}", kind(&invoice), invoice.number))
        .authors(vec![invoice.issuer.name.clone()])
        .creator("Apportion".to_owned())
        .language("en".to_owned());
    document.set_metadata(match at {
        Some(at) => metadata.creation_date(at),
        None => metadata,
    });
    document.embed_file(EmbeddedFile {
        path: format!("{}.json", invoice.number),
        mime_type: MimeType::new("application/json"),
        description: Some("The document as data".to_owned()),
        association_kind: AssociationKind::Source,
        data: content.as_bytes().to_vec().into(),
        modification_date: at,
        compress: Some(true),
        location: None,
    });
    document.finish().map_err(|error| PdfError::Written(format!("{error:?}")))
}

/// When the document was issued: a PDF says when it was made, and this one could be made at any time.
fn time(invoice: &Invoice) -> Option<DateTime> {
    let at = invoice.issued_at;
    let byte = |number: u32| u8::try_from(number).ok();
    let day = DateTime::new(u16::try_from(at.year()).ok()?).month(byte(at.month())?).day(byte(at.day())?);
    let second = day.hour(byte(at.hour())?).minute(byte(at.minute())?).second(byte(at.second())?);
    Some(second.utc_offset_hour(0).utc_offset_minute(0))
}

fn kind(invoice: &Invoice) -> &'static str {
    match invoice.kind {
        InvoiceKind::Invoice => "Invoice",
        InvoiceKind::CreditNote => "Credit note",
    }
}

fn date(date: NaiveDate) -> String {
    date.format("%-d %B %Y").to_string()
}

/// With a minus sign as wide as a digit, so that columns stand.
fn signed(amount: String) -> String {
    amount.replace('-', "\u{2212}")
}

fn tax_id(party: &InvoiceParty) -> Option<String> {
    party.tax_id.as_ref().map(|id| format!("Tax ID {id}"))
}

/// Sets a document from the top of its first page to its last line.
struct Setter<'a> {
    invoice: &'a Invoice,
    canvas: Canvas,
    /// How far down the page it has come.
    y: f32,
}

impl<'a> Setter<'a> {
    fn set(invoice: &'a Invoice) -> Result<Canvas, PdfError> {
        let mut setter = Self { invoice, canvas: Canvas::new()?, y: 0.0 };
        setter.letterhead()?;
        setter.parties()?;
        setter.subject()?;
        setter.table()?;
        setter.total()?;
        setter.payment()?;
        setter.feet()?;
        Ok(setter.canvas)
    }

    /// Starts a page where the rest of this one is too short; says whether it did.
    fn make_room(&mut self, height: f32) -> Result<bool, PdfError> {
        if self.y + height <= BODY_END {
            return Ok(false);
        }
        self.canvas.start_page();
        self.canvas.text(LEFT, 56.0, &self.invoice.issuer.name, STRONG)?;
        let name = format!("{} {}", kind(self.invoice), self.invoice.number);
        self.canvas.text_right(RIGHT, 56.0, &name, regular(9.5, GRAY))?;
        self.y = 84.0;
        Ok(true)
    }

    fn paragraph(&mut self, x: f32, text: &str, style: Style, width: f32, leading: f32) -> Result<(), PdfError> {
        for line in self.canvas.fonts.paragraph(text, style, width)? {
            self.y += leading;
            self.canvas.put(x, self.y, line);
        }
        Ok(())
    }

    fn letterhead(&mut self) -> Result<(), PdfError> {
        let issuer = &self.invoice.issuer;
        self.canvas.bar(LEFT, 0.0, 46.0, 6.0, ACCENT);
        self.canvas.text_right(RIGHT, 72.0, kind(self.invoice), regular(24.0, ACCENT))?;
        self.y = 50.0;
        self.paragraph(LEFT, &issuer.name, semi_bold(17.0, INK), FACTS - LEFT, 21.0)?;
        self.y += 4.0;
        for line in issuer.address.iter().cloned().chain(tax_id(issuer)) {
            self.paragraph(LEFT, &line, regular(8.5, GRAY), FACTS - LEFT, 11.5)?;
        }
        self.y = self.y.max(84.0) + 18.0;
        self.canvas.bar(LEFT, self.y, RIGHT - LEFT, 0.6, HAIRLINE);
        Ok(())
    }

    /// To whom it goes, and beside it what it is.
    fn parties(&mut self) -> Result<(), PdfError> {
        let payer = &self.invoice.payer;
        let top = self.y + 26.0;
        self.y = top;
        let label = match self.invoice.kind {
            InvoiceKind::Invoice => "Bill to",
            InvoiceKind::CreditNote => "Credit to",
        };
        self.canvas.text(LEFT, self.y, label, LABEL)?;
        self.y += 2.0;
        self.paragraph(LEFT, &payer.name, semi_bold(11.0, INK), FACTS - LEFT - 30.0, 15.0)?;
        for line in payer.address.iter().cloned().chain(tax_id(payer)) {
            self.paragraph(LEFT, &line, BODY, FACTS - LEFT - 30.0, 13.0)?;
        }
        let end = self.y;
        self.y = top;
        for (label, value) in self.facts() {
            self.canvas.text(FACTS, self.y, label, LABEL)?;
            let lines = self.canvas.fonts.paragraph(&value, BODY, RIGHT - FACTS - 80.0)?;
            for line in lines {
                self.canvas.put_right(RIGHT, self.y, line);
                self.y += 13.5;
            }
        }
        self.y = self.y.max(end) + 24.0;
        Ok(())
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let invoice = self.invoice;
        let due = match invoice.payable() {
            Payable::By(due) => vec![("Due date", date(due))],
            Payable::OnReceipt { was_due_on } => {
                vec![("Due", "On receipt".to_owned()), ("Contract's due date", date(was_due_on))]
            }
            Payable::Unstated => Vec::new(),
        };
        let facts = [("Number", invoice.number.to_string()), ("Issue date", date(invoice.issued_on))];
        let rest = [
            ("Contract", invoice.contract.to_string()),
            ("Period", invoice.period.to_string()),
            ("Statement", format!("{}, revision {}", invoice.statement.statement_id, invoice.statement.revision)),
        ];
        facts.into_iter().chain(due).chain(rest).collect()
    }

    fn subject(&mut self) -> Result<(), PdfError> {
        let invoice = self.invoice;
        self.paragraph(LEFT, &invoice.title, semi_bold(12.5, INK), RIGHT - LEFT, 16.0)?;
        let (first, last) = (date(invoice.period.first_day), date(invoice.period.last_day()));
        let span = format!("Period {first} to {last}, time zone {}", invoice.zone);
        self.paragraph(LEFT, &span, regular(9.0, GRAY), RIGHT - LEFT, 14.0)?;
        if !invoice.corrects.is_empty() {
            let corrected = invoice.corrects.iter().map(|it| format!("{} of {}", it.number, date(it.issued_on)));
            let corrected = format!("Corrects {}", corrected.collect::<Vec<_>>().join(", "));
            self.paragraph(LEFT, &corrected, regular(9.0, INK), RIGHT - LEFT, 14.0)?;
        }
        self.y += 20.0;
        Ok(())
    }

    fn table_head(&mut self) -> Result<(), PdfError> {
        self.y += 10.0;
        self.canvas.text(LEFT, self.y, "Clause", LABEL)?;
        self.canvas.text(ORIGIN, self.y, "Origin period", LABEL)?;
        self.canvas.text_right(RIGHT, self.y, &format!("Amount in {}", self.invoice.currency), LABEL)?;
        self.y += 6.0;
        self.canvas.bar(LEFT, self.y, RIGHT - LEFT, 0.9, INK);
        Ok(())
    }

    fn table(&mut self) -> Result<(), PdfError> {
        self.table_head()?;
        for line in &self.invoice.lines {
            let details = self.details(line);
            self.row(&line.clause, &details, &line.origin_period.to_string(), &line.amount)?;
        }
        let carried = &self.invoice.carried_in;
        if !carried.is_zero() {
            let why = ["Carried into this period, as the contract says".to_owned()];
            self.row("Credit of earlier periods", &why, "", carried)?;
        }
        Ok(())
    }

    /// How a line's amount came about: what it is made of, and what was booked for its period before.
    fn details(&self, line: &InvoiceLine) -> Vec<String> {
        let mut details: Vec<String> = line.details.iter().flat_map(made_of).collect();
        if details.is_empty() {
            details.push(String::new());
        }
        for detail in &mut details {
            *detail = format!("{}{detail}", line.term);
        }
        if !line.owed_to_others.is_zero() {
            details
                .push(format!("Of it others are owed {}", signed(money(&line.owed_to_others, self.invoice.currency))));
        }
        if !line.booked_before.is_zero() {
            let before = signed(money(&line.booked_before, self.invoice.currency));
            details.push(format!("Adjustment: {before} was booked before"));
        }
        details
    }

    fn row(&mut self, clause: &str, details: &[String], origin: &str, amount: &Exact) -> Result<(), PdfError> {
        let fonts = &self.canvas.fonts;
        let width = ORIGIN - LEFT - 24.0;
        let heading = fonts.paragraph(clause, BODY, width)?;
        let set = details.iter().map(|text| fonts.paragraph(text, SMALL, width));
        let details: Vec<Line> = set.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let lines = heading.into_iter().map(|line| (13.0, line)).chain(details.into_iter().map(|line| (11.0, line)));
        let lines: Vec<(f32, Line)> = lines.collect();
        let height = 13.0 + lines.iter().map(|(leading, _)| leading).sum::<f32>();
        // What is long goes on overleaf.
        if self.make_room(height.min(KEPT_TOGETHER))? {
            self.table_head()?;
        }
        self.canvas.text(ORIGIN, self.y + 17.0, origin, BODY)?;
        self.canvas.text_right(RIGHT, self.y + 17.0, &signed(minor(amount, self.invoice.currency)), BODY)?;
        self.y += 4.0;
        for (leading, line) in lines {
            if self.make_room(leading + 9.0)? {
                self.table_head()?;
                self.y += 4.0;
            }
            self.y += leading;
            self.canvas.put(LEFT, self.y, line);
        }
        self.y += 9.0;
        self.canvas.bar(LEFT, self.y, RIGHT - LEFT, 0.5, HAIRLINE);
        Ok(())
    }

    fn total(&mut self) -> Result<(), PdfError> {
        // The total stands with what is said of its payment.
        self.make_room(54.0 + self.payment_height()?)?;
        let label = match self.invoice.kind {
            InvoiceKind::Invoice => "Total due",
            InvoiceKind::CreditNote => "Total credit",
        };
        self.y += 26.0;
        let label = self.canvas.fonts.line(label, semi_bold(11.0, INK))?;
        let total = signed(money(&self.invoice.total, self.invoice.currency));
        let total = self.canvas.fonts.line(&total, semi_bold(13.0, ACCENT))?;
        // Below the origin periods, but a long amount keeps its distance from the label.
        let left = ORIGIN.min(RIGHT - total.width - label.width - 18.0);
        self.canvas.put(left, self.y, label);
        self.canvas.put_right(RIGHT, self.y, total);
        self.y += 8.0;
        self.canvas.bar(left, self.y, RIGHT - left, 1.2, ACCENT);
        self.y += 20.0;
        Ok(())
    }

    /// Who pays, when, and to where.
    fn payment_terms(&self) -> (String, &'a InvoiceParty) {
        let invoice = self.invoice;
        let (from, to, amount) = match invoice.kind {
            InvoiceKind::Invoice => (&invoice.payer, &invoice.issuer, invoice.total.clone()),
            InvoiceKind::CreditNote => (&invoice.issuer, &invoice.payer, -invoice.total.clone()),
        };
        let amount = money(&amount, invoice.currency);
        let due = match invoice.payable() {
            Payable::By(due) => format!(" by {}.", date(due)),
            Payable::OnReceipt { was_due_on } => format!(
                " on receipt. By the contract it was due by {}, before this document was issued.",
                date(was_due_on)
            ),
            Payable::Unstated => ". No term of the contract states a date after the period.".to_owned(),
        };
        (format!("{} pays {} {amount}{due} Reference: {}", from.name, to.name, invoice.number), to)
    }

    /// The words on the left and the payee's account on the right, with the height of both.
    fn payment_lines(&self) -> Result<(Vec<Line>, Vec<Line>, f32), PdfError> {
        let (terms, payee) = self.payment_terms();
        let fonts = &self.canvas.fonts;
        let terms = fonts.paragraph(&terms, BODY, ORIGIN - LEFT - 44.0)?;
        let set = payee.bank.iter().map(|line| fonts.paragraph(line, BODY, RIGHT - ORIGIN - 16.0));
        let account: Vec<Line> = set.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let height = [&terms, &account].map(|lines| lines.iter().map(|_| 13.5).sum::<f32>());
        Ok((terms, account, height.into_iter().fold(0.0, f32::max)))
    }

    fn payment_height(&self) -> Result<f32, PdfError> {
        Ok(self.payment_lines()?.2 + 42.0)
    }

    fn payment(&mut self) -> Result<(), PdfError> {
        let height = self.payment_height()?;
        let (terms, account, _) = self.payment_lines()?;
        let top = self.y;
        self.canvas.bar(LEFT, top, RIGHT - LEFT, height, PANEL);
        let mut column = |x: f32, label: &str, lines: Vec<Line>| -> Result<(), PdfError> {
            self.canvas.text(x, top + 20.0, label, LABEL)?;
            let mut y = top + 22.0;
            for line in lines {
                y += 13.5;
                self.canvas.put(x, y, line);
            }
            Ok(())
        };
        column(LEFT + 14.0, "Payment", terms)?;
        if !account.is_empty() {
            column(ORIGIN, "Account", account)?;
        }
        self.y = top + height;
        Ok(())
    }

    fn feet(&mut self) -> Result<(), PdfError> {
        let reference = &self.invoice.statement;
        let pages = self.canvas.page_count();
        let source = format!(
            "{}  ·  drawn from statement {}, revision {}",
            self.invoice.number, reference.statement_id, reference.revision
        );
        let digest = format!("SHA-256 of the statement {}", reference.sha256);
        for page in 0..pages {
            self.canvas.turn_to(page);
            let y = PAGE_HEIGHT - 52.0;
            self.canvas.bar(LEFT, y - 14.0, RIGHT - LEFT, 0.5, HAIRLINE);
            self.canvas.text(LEFT, y, &source, regular(7.5, GRAY))?;
            self.canvas.text(LEFT, y + 11.0, &digest, regular(6.5, GRAY))?;
            let number = format!("Page {} of {pages}", page.saturating_add(1));
            self.canvas.text_right(RIGHT, y, &number, regular(7.5, GRAY))?;
        }
        Ok(())
    }
}

/// What an amount is made of under one version, what its cap did, and what was paid back.
fn made_of(detail: &LineDetail) -> Vec<String> {
    let addends = detail.addends.iter().map(|it| {
        let (of, measured) = (&it.of, signed(measured(it)));
        if it.factors.is_empty() {
            return format!("{of}, {measured}");
        }
        format!("{of}, {measured} {} = {}", signed(factors(&it.factors)), signed(exact(&it.amount)))
    });
    let told = |what: &str, amount: &Exact| (!amount.is_zero()).then(|| format!("{what}: {}", signed(exact(amount))));
    let others = [
        told("left out by the cap", &detail.left_out),
        told("let in that the cap had left out before", &detail.let_in),
        told("paid back or set off", &detail.paid_back),
    ];
    addends.chain(others.into_iter().flatten()).map(|it| format!(", version {}: {it}", detail.version)).collect()
}
