//! Why a request is decided as it is: the decision itself, watched.

use super::decision::{Decision, Question, Trace, Wanted};
use super::host::Host;
use super::matching::notation;
use super::path::{Reading, SEGMENTS_KEPT};
use super::rule::Place;
use super::site::{Found, Site, Sites};
use super::table::Mismatch;
use super::{RuleId, SiteId};

/// What `explain` shows. Everything up to where the decision fell is there.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    /// The host as it was looked up; none when it is no host.
    pub host: Option<String>,
    /// How the site was found; none when there is no site.
    pub found: Option<Found>,
    /// The segments of the path as rules see them, in the notation of bindings; at most 64.
    pub segments: Vec<String>,
    /// A leading language was cut from them.
    pub language_cut: bool,
    /// Each rule that was asked, in order; the last one is the one that matched, if any did.
    pub rules: Vec<RuleTried>,
    /// The scheme wanted, and what decided it.
    pub wanted: Option<Wanted>,
    pub decision: Decision<'a>,
}

/// One rule that was asked.
#[derive(Clone, Debug)]
pub struct RuleTried {
    pub rule: RuleId,
    pub name: String,
    pub place: Place,
    /// Why it does not match.
    pub outcome: Result<(), Mismatch>,
}

impl Sites {
    /// [`decide`](Self::decide), and everything that led there. Allocates.
    pub fn explain<'a>(&'a self, question: &Question<'a>) -> Explanation<'a> {
        let mut notes = Notes::default();
        let decision = self.decide_seen(question, &mut notes);
        Explanation {
            host: notes.host,
            found: notes.found,
            segments: notes.segments,
            language_cut: notes.language_cut,
            rules: notes.rules,
            wanted: notes.wanted,
            decision,
        }
    }

    /// The site a decision is about.
    pub fn site_of(&self, decision: &Decision<'_>) -> Option<(SiteId, &Site)> {
        let site = decision.site?;
        Some((site, self.get(site)?))
    }
}

#[derive(Default)]
struct Notes {
    host: Option<String>,
    found: Option<Found>,
    segments: Vec<String>,
    language_cut: bool,
    rules: Vec<RuleTried>,
    wanted: Option<Wanted>,
}

impl Trace for Notes {
    fn host(&mut self, host: Host<'_>, found: Option<Found>) {
        self.host = Some(String::from_utf8_lossy(host.name).to_ascii_lowercase());
        self.found = found;
    }

    fn path(&mut self, site: &Site, reading: &Reading<'_>, matched: Option<usize>) {
        self.segments = (0..SEGMENTS_KEPT).map_while(|index| reading.segment(index)).map(notation).collect();
        self.language_cut = reading.prefix_cut();
        for (index, rule) in site.rules().iter().enumerate() {
            let is_match = matched == Some(index);
            let outcome = site.table.try_rule(&rule, reading);
            debug_assert_eq!(outcome.is_ok(), is_match, "rule {index} alone and in the table");
            self.rules.push(RuleTried {
                rule: RuleId(index as u32),
                name: rule.name,
                place: rule.place,
                outcome,
            });
            if is_match {
                break;
            }
        }
    }

    fn wanted(&mut self, wanted: Wanted) {
        self.wanted = Some(wanted);
    }
}
