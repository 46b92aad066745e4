//! Random agreements: terms of every part, and the versions that amend them.

use crate::draw::Draw;
use crate::model::{
    Band, Base, Basis, BelowZero, Blocks, Cap, CapOf, Carry, Condition, Contract, Each, FxDate, Hold, How, Micros,
    Minimum, Mode, Name, Other, Payees, Place, ProRata, Q, Rate, Recoups, Select, Tail, Term, Version, When, ratio,
    whole,
};
use crate::time::{DayCount, day, start_of};
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;

const ZONES: [Tz; 9] = [
    Tz::UTC,
    Tz::America__Los_Angeles,
    Tz::Asia__Kolkata,
    Tz::Africa__Cairo,
    Tz::America__Santiago,
    Tz::Pacific__Chatham,
    Tz::Australia__Lord_Howe,
    Tz::Europe__Berlin,
    Tz::Pacific__Kiritimati,
];
const NAMES: [Name; 4] = ["alpha", "beta", "gamma", "delta"];
pub const DAY: Micros = 86_400_000_000;

/// What all agreements of a history have in common.
pub struct Setting {
    pub start: NaiveDate,
    /// How long the history is.
    pub days: i64,
}

pub fn setting(draw: &mut Draw) -> Setting {
    let start = draw.pick(&[day(2025, 11, 1), day(2026, 1, 1), day(2026, 3, 1), day(2026, 8, 1), day(2027, 10, 1)]);
    Setting { start, days: draw.pick(&[120, 200, 330]) }
}

impl Setting {
    pub fn date(&self, draw: &mut Draw) -> NaiveDate {
        let after = u64::try_from(draw.below(self.days)).expect("days");
        let date = self.start + Days::new(after);
        // Often the first of a month.
        if draw.chance(40) { crate::time::window(Each::Month, date).first.max(self.start) } else { date }
    }
}

pub fn contract(draw: &mut Draw, setting: &Setting, place: usize, before: &[Contract]) -> Contract {
    let zone = draw.pick(&ZONES);
    let id = ["up", "down", "aside"][place];
    let mut contract = Contract {
        id,
        zone,
        currency: draw.pick(&["USD", "USD", "USD", "EUR", "JPY", "KWD"]),
        mode: draw.pick(&[Mode::HalfUp, Mode::HalfEven, Mode::Down]),
        period: period(draw, setting),
        fx_date: match draw.below(8) {
            0 => FxDate::On(setting.date(draw)),
            1 | 2 => FxDate::PeriodEnd,
            _ => FxDate::Item,
        },
        fx_within: draw.pick(&[7, 9, 9]),
        fx_stated: draw.chance(10).then(|| ("EUR", ratio(draw.between(1, 20_000), 10_000))),
        versions: Vec::new(),
    };
    let is_steady = draw.chance(25);
    let mut terms = Vec::new();
    for name in NAMES.iter().take(1 + draw.place(3)) {
        terms.push(term(draw, setting, (place, name), is_steady));
    }
    if let Some(drawn) = before.first().filter(|_| place == 1 && draw.chance(60)) {
        draw_on(draw, &mut terms[0], drawn);
    }
    let shared_cap = share_cap(draw, setting, &mut terms);
    add_once(draw, &mut terms);
    add_advance(draw, setting, &mut terms);
    let first = Version {
        number: 1,
        effective: When::Date(setting.start),
        recorded_at: start_of(zone, setting.start) - 30 * DAY,
        terms,
        shared_cap,
        holds: holds(draw),
    };
    contract.versions.push(first);
    let amendments = if is_steady { 0 } else { draw.below(4) };
    for _ in 0..amendments {
        let next = amended(draw, setting, &contract);
        contract.versions.push(next);
    }
    contract.fx_stated = contract.fx_stated.filter(|(from, _)| *from != contract.currency);
    contract
}

fn period(draw: &mut Draw, setting: &Setting) -> Each {
    match draw.below(20) {
        0..12 => Each::Month,
        12..14 => Each::Quarter,
        14..16 => Each::Year,
        16 => Each::Week,
        17 => Each::ContractYear(setting.start),
        // From the last day of a month, often.
        _ => Each::ContractMonth(setting.start - Days::new(u64::try_from(draw.below(3)).expect("a few"))),
    }
}

/// Most often what occurred.
const BASES: [Basis; 10] = {
    let mut bases = [Basis::Occurred; 10];
    bases[8] = Basis::Invoiced;
    bases[9] = Basis::Received;
    bases
};

fn seller_of(place: usize) -> Name {
    ["shop", "lab", "cloud"][place]
}

fn rate(draw: &mut Draw) -> Q {
    let (numerator, denominator) = draw.pick(&[(1, 5), (1, 3), (7, 100), (1, 40), (2, 7), (9, 10), (1, 2), (33, 1000)]);
    ratio(numerator, denominator)
}

fn amount(draw: &mut Draw, most: i64) -> Q {
    ratio(draw.between(1, most * 100), 100)
}

fn base(draw: &mut Draw, seller: Name) -> Base {
    let products = draw.pick(&[vec![], vec![], vec!["p"], vec!["q", "r"], vec!["p", "q"]]);
    let mut less = Vec::new();
    for category in crate::model::CATEGORIES {
        if draw.chance(60) {
            less.push((category, if draw.chance(50) { Place::Item } else { Place::OwnDate }));
        }
    }
    let mut select = vec![Select::Charges { seller, products }];
    if draw.chance(12) {
        select.push(Select::Figure { name: "Extra" });
    }
    Base {
        select,
        not_customer: draw.chance(15).then_some("c3"),
        less,
        basis: draw.pick(&BASES),
        below_zero: BelowZero::Keep,
        above: None,
    }
}

fn each(draw: &mut Draw, setting: &Setting) -> Each {
    let start = setting.start;
    let own = [Each::Week, Each::ContractMonth(start), Each::ContractYear(start), Each::Ever];
    if draw.chance(40) { draw.pick(&own) } else { draw.pick(&[Each::Month, Each::Quarter, Each::Year]) }
}

fn window(draw: &mut Draw) -> Each {
    draw.pick(&[Each::Week, Each::Month, Each::Month, Each::Month, Each::Quarter, Each::Year])
}

fn term(draw: &mut Draw, setting: &Setting, (place, name): (usize, Name), is_steady: bool) -> Term {
    let (payer, payee) = [("shop", "lab"), ("lab", "cloud"), ("cloud", "lab")][place];
    let mut term = Term {
        name,
        payer,
        payees: Payees::One(payee),
        base: base(draw, seller_of(place)),
        how: How::Rate(Rate::Flat(rate(draw))),
        from: None,
        through: None,
        until: None,
        starts: None,
        tail: None,
        cap: CapOf::None,
        minimum: None,
        recoups: None,
        once: false,
        per_country: false,
    };
    how(draw, setting, &mut term);
    if draw.chance(15) {
        term.payees = Payees::Parts(draw.pick(&[
            vec![("p1", 1), ("p2", 1), ("p3", 1)],
            vec![("p1", 2), ("p2", 1)],
            vec![("p3", 3), ("p1", 5), ("p2", 6)],
        ]));
    }
    if !is_steady {
        when(draw, setting, &mut term);
    } else if matches!(term.how, How::Rate(_)) && term.base.above.is_none() && draw.chance(40) {
        term.base.below_zero = draw.pick(&[BelowZero::Zero, BelowZero::Carried]);
    } else if matches!(term.how, How::Rate(_) | How::Price { .. } | How::Tiers { is_whole: false, .. })
        && draw.chance(40)
    {
        term.through = Some(setting.date(draw));
        let days = draw.pick(&[1, 30, 90]);
        term.tail = Some((days, draw.pick(&[Tail::All, Tail::EarlierCustomers])));
    }
    if draw.chance(45) && !matches!(term.how, How::OnDates { .. }) {
        term.cap = CapOf::Own(cap(draw, setting, term.from.unwrap_or(setting.start)));
    }
    minimum(draw, &mut term, is_steady);
    if term.per_country {
        term.cap = CapOf::None;
    }
    term
}

fn when(draw: &mut Draw, setting: &Setting, term: &mut Term) {
    match draw.below(12) {
        0 => term.from = Some(setting.date(draw)),
        1 | 2 => term.through = Some(setting.date(draw)),
        3 | 4 => term.until = Some("milestone"),
        5 => term.starts = Some("launch"),
        _ => {}
    }
    if let How::Tiers { from: counts_from, .. } = &mut term.how {
        // What counts before its term is another matter.
        term.starts = None;
        *counts_from = term.from.unwrap_or(setting.start);
    }
}

fn cap(draw: &mut Draw, setting: &Setting, from: NaiveDate) -> Cap {
    let is = whole(draw.between(20, 900));
    let opening = if draw.chance(25) { whole(draw.between(1, 20)) } else { whole(0) };
    let from = if draw.chance(80) { from } else { setting.date(draw).max(from) };
    Cap { is, each: each(draw, setting), from, opening, is_deferred: draw.chance(30) }
}

fn bands(draw: &mut Draw) -> (Vec<Band>, Q) {
    let mut bands = Vec::new();
    let mut edge = 0;
    for _ in 0..draw.between(1, 3) {
        edge += draw.between(1, 600);
        bands.push(Band { edge: whole(edge), is_inclusive: draw.chance(50), rate: rate(draw) });
    }
    (bands, rate(draw))
}

fn how(draw: &mut Draw, setting: &Setting, term: &mut Term) {
    let from = setting.start;
    term.how = match draw.below(100) {
        0..30 => How::Rate(Rate::Flat(rate(draw))),
        30..40 => rows(draw, setting),
        40..60 => {
            let (bands, above) = bands(draw);
            let is_whole = draw.chance(45);
            let each = if is_whole { window(draw) } else { each(draw, setting) };
            let all = [DayCount::ActualActual, DayCount::Actual365, DayCount::Actual360, DayCount::Thirty360];
            let annual = (is_whole && draw.chance(30)).then(|| draw.pick(&all));
            How::Tiers { is_whole, annual, each, from, bands, above }
        }
        60..68 => How::Price {
            price: ratio(draw.between(1, 500), 100),
            per_units: whole(draw.pick(&[1, 5, 7])),
            blocks: draw.pick(&[Blocks::Whole, Blocks::None, Blocks::Exact]),
        },
        68..82 => either(draw),
        82..86 => How::OnDates { amount: amount(draw, 300), dates: vec![setting.date(draw)] },
        86..90 => How::OnFact { amount: amount(draw, 100), fact: "sign-up", at_most: 1 + draw.place(3) },
        90..95 => How::Fixed {
            amount: amount(draw, 100),
            each: window(draw),
            pro_rata: draw.pick(&[ProRata::Full, ProRata::Days, ProRata::Months, ProRata::None]),
        },
        _ => How::Commitment,
    };
    match &term.how {
        How::Price { .. } => {
            let not_customer = term.base.not_customer;
            term.base = Base { select: vec![Select::Units { meter: "requests" }], ..no_base() };
            term.base.not_customer = not_customer;
        }
        How::OnDates { .. } | How::OnFact { .. } | How::Fixed { .. } => term.base = no_base(),
        How::Tiers { .. } => term.per_country = draw.chance(25),
        How::Rate(Rate::Flat(_)) if draw.chance(20) => {
            term.base.above = Some((whole(draw.between(1, 900)), each(draw, setting), from));
        }
        How::Rate(Rate::Flat(_)) if draw.chance(15) => {
            term.base.less.clear();
            term.payees = Payees::ByUse(vec![("p", "p1"), ("q", "p2"), ("r", "p3")]);
        }
        _ => {}
    }
}

fn no_base() -> Base {
    Base {
        select: Vec::new(),
        not_customer: None,
        less: Vec::new(),
        basis: Basis::Occurred,
        below_zero: BelowZero::Keep,
        above: None,
    }
}

fn rows(draw: &mut Draw, setting: &Setting) -> How {
    let mut rows = Vec::new();
    let (through, from) = (setting.date(draw), setting.date(draw));
    let all = [
        Condition::Product("q"),
        Condition::Country("DE"),
        Condition::Status("managed"),
        Condition::Through(through),
        // Rows whose dates overlap are refused.
        Condition::From(from.max(through + Days::new(1))),
    ];
    for condition in all {
        if draw.chance(40) {
            rows.push((condition, rate(draw)));
        }
    }
    if rows.is_empty() {
        rows.push((Condition::Product("q"), rate(draw)));
    }
    let otherwise = draw.chance(75).then(|| rate(draw));
    How::Rate(Rate::Rows(rows, otherwise))
}

fn either(draw: &mut Draw) -> How {
    let other = if draw.chance(50) { Other::Amount(amount(draw, 150)) } else { Other::Rate(rate(draw)) };
    let each = match &other {
        Other::Rate(_) if draw.chance(40) => None,
        _ => Some(window(draw)),
    };
    How::Either { is_greater: draw.chance(60), each, rate: rate(draw), other }
}

fn minimum(draw: &mut Draw, term: &mut Term, is_steady: bool) {
    let is_commitment = term.how == How::Commitment;
    let can_be = matches!(term.how, How::Rate(_) | How::Price { .. } | How::Tiers { is_whole: false, .. })
        && term.tail.is_none();
    if is_commitment || can_be && draw.chance(15) {
        let carries = is_steady && !is_commitment && draw.chance(60);
        if carries {
            term.cap = CapOf::None;
        }
        let carry =
            if carries { draw.pick(&[Carry::Cumulative, Carry::Excess, Carry::Shortfall]) } else { Carry::None };
        term.per_country = false;
        term.minimum = Some(Minimum {
            is: amount(draw, 300),
            each: window(draw),
            carry,
            is_outside_cap: is_steady && draw.chance(30),
            pro_rata: draw.pick(&[ProRata::Full, ProRata::Days, ProRata::Months, ProRata::None]),
        });
    }
}

/// The first term's base draws on what another agreement passes on.
fn draw_on(draw: &mut Draw, term: &mut Term, drawn: &Contract) {
    let from = &drawn.versions[0].terms;
    // A price of units is of nobody's money, and what pays an advance back is no income.
    let is_fed = |it: &&Term| it.name != "advance" && !matches!(it.how, How::Price { .. });
    let terms: Vec<Name> = from.iter().filter(is_fed).map(|it| it.name).collect();
    if !terms.is_empty() && matches!(term.base.select.first(), Some(Select::Charges { .. })) {
        term.base.basis = Basis::Occurred;
        term.base.select.push(Select::Accrual { contract: 0, term: draw.pick(&terms) });
    }
}

/// Usage that breaks both of two is held by both.
fn holds(draw: &mut Draw) -> Vec<Hold> {
    let all = [("keep", "azure"), ("keep-too", "aws")].map(|(name, only)| Hold { name, product: "p", only });
    let count = if draw.chance(25) { 1 + draw.place(2) } else { 0 };
    all.into_iter().take(count).collect()
}

fn share_cap(draw: &mut Draw, setting: &Setting, terms: &mut [Term]) -> Option<Cap> {
    let can = |it: &Term| matches!(it.payees, Payees::One(_)) && it.minimum.is_none() && !it.per_country;
    let count = terms.iter().filter(|it| can(it)).count();
    if count < 2 || !draw.chance(35) {
        return None;
    }
    for term in terms.iter_mut().filter(|it| can(it)) {
        term.cap = CapOf::Shared;
    }
    Some(Cap { is_deferred: false, ..cap(draw, setting, setting.start) })
}

fn add_once(draw: &mut Draw, terms: &mut [Term]) {
    if draw.chance(12) && terms.len() > 1 {
        for term in terms.iter_mut().filter(|it| matches!(it.how, How::Rate(_))) {
            term.once = true;
            term.base.less.retain(|it| it.1 == Place::Item);
            term.base.select.truncate(1);
            term.base.basis = Basis::Occurred;
            term.base.below_zero = BelowZero::Keep;
        }
    }
}

fn add_advance(draw: &mut Draw, setting: &Setting, terms: &mut Vec<Term>) {
    let is_drawn = |it: &Term| it.base.select.iter().any(|it| matches!(it, Select::Accrual { .. }));
    let can = |it: &Term| {
        matches!(it.payees, Payees::One(_))
            && matches!(it.how, How::Rate(_) | How::Tiers { .. })
            && it.cap != CapOf::Shared
            && !is_drawn(it)
            && !it.per_country
    };
    let Some(place) = terms.iter().position(can).filter(|_| draw.chance(15)) else { return };
    let limit = draw.chance(30).then(|| amount(draw, 300));
    terms[place].recoups = Some(Recoups { advance: "advance", limit, is_repaid: draw.chance(30) });
    let mut dates = vec![setting.start, setting.date(draw)];
    dates.sort();
    dates.dedup();
    let advance = Term {
        name: "advance",
        base: no_base(),
        how: How::OnDates { amount: amount(draw, 300), dates },
        from: None,
        through: None,
        until: None,
        starts: None,
        tail: None,
        cap: CapOf::None,
        minimum: None,
        recoups: None,
        once: false,
        per_country: false,
        ..terms[place].clone()
    };
    terms.insert(0, advance);
}

fn recouped(term: &Term) -> Option<Name> {
    term.recoups.as_ref().map(|it| it.advance)
}

/// The next version: it changes rates, caps and terms of the one before.
fn amended(draw: &mut Draw, setting: &Setting, contract: &Contract) -> Version {
    let last = contract.versions.last().expect("a version");
    let date = setting.date(draw).max(setting.start + Days::new(1));
    let start = start_of(contract.zone, date);
    let at_an_instant = draw.chance(20);
    let effective = if at_an_instant { When::Instant(start + draw.below(DAY)) } else { When::Date(date) };
    // Signed before it is effective, or long after.
    let recorded_at = (start + draw.between(-20, 60) * DAY).max(last.recorded_at + 1);
    let mut next = Version { number: last.number + 1, effective, recorded_at, ..last.clone() };
    for term in &mut next.terms {
        if draw.chance(40) {
            other_rate(draw, &mut term.how);
        }
        change_cap(draw, setting, (term, date));
        if term.starts.is_none() && draw.chance(15) {
            term.until = if term.until.is_some() { None } else { Some("milestone") };
        }
    }
    if let Some(cap) = next.shared_cap.as_mut().filter(|_| draw.chance(40)) {
        cap.is = whole(draw.between(20, 900));
    }
    if draw.chance(20) {
        next.holds.pop();
    }
    if draw.chance(20) && next.terms.len() > 1 {
        let last = next.terms.last().expect("a term");
        let is_needed = last.cap == CapOf::Shared || next.terms.iter().any(|it| recouped(it) == Some(last.name));
        if !is_needed {
            next.terms.pop();
        }
    }
    next
}

fn other_rate(draw: &mut Draw, how: &mut How) {
    match how {
        How::Rate(it) => *it = Rate::Flat(rate(draw)),
        How::Tiers { bands: of, above: it, .. } => (*of, *it) = bands(draw),
        How::Either { rate: it, .. } => *it = rate(draw),
        How::Price { price, .. } => *price = ratio(draw.between(1, 500), 100),
        How::Fixed { amount: it, .. } => *it = amount(draw, 100),
        How::OnDates { .. } | How::OnFact { .. } | How::Commitment => {}
    }
}

fn change_cap(draw: &mut Draw, setting: &Setting, (term, date): (&mut Term, NaiveDate)) {
    match &mut term.cap {
        CapOf::Own(cap) => match draw.below(6) {
            0 => term.cap = CapOf::None,
            1 => cap.is = whole(draw.between(20, 900)),
            2 => (cap.from, cap.opening) = (date, whole(0)),
            _ => {}
        },
        CapOf::None
            if draw.chance(20)
                && !term.per_country
                && term.recoups.is_none()
                && !matches!(term.how, How::OnDates { .. }) =>
        {
            let from = if draw.chance(50) { date } else { setting.start };
            term.cap = CapOf::Own(cap(draw, setting, from.max(term.from.unwrap_or(from))));
        }
        CapOf::None | CapOf::Shared => {}
    }
}
