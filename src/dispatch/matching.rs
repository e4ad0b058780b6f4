//! Which rule matches a target, and what its variables are bound to.

use super::path::{BadTarget, Reading, Room, Segment, all_segments};
use super::rule::Element;
use super::site::{Site, Sites};
use super::{RuleId, SiteId};

/// One variable and its value, in the notation of `explain --batch`: bytes outside 0x20 to 0x7e,
/// and `"`, `\` and `%`, are `%XX` in capitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub name: String,
    pub value: Bound,
}

/// What a variable is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    Segment(String),
    /// A `*` at the end: the rest of the path.
    Rest(Vec<String>),
}

impl Site {
    /// The target as rules see it, its language prefix cut.
    #[inline(always)]
    pub(super) fn read<'a>(&self, target: &'a [u8], room: &'a mut Room) -> Result<Reading<'a>, BadTarget> {
        Reading::new(target, room, |segment| self.table.languages.is_prefix(segment))
    }
}

impl Sites {
    /// The first rule of the site that matches the target (origin form, query or none). None too for
    /// what is no target. Allocates nothing.
    pub fn matches(&self, site: SiteId, target: &[u8]) -> Option<RuleId> {
        let site = self.site(site);
        let mut room = Room::new();
        let reading = site.read(target, &mut room).ok()?;
        site.table.first_match(&reading).map(|index| RuleId(index as u32))
    }

    /// Appends what the variables of a rule that [matches](Self::matches) are bound to, in the order
    /// of the path; a language prefix that was cut comes first, as `z_language`. Allocates.
    pub fn bindings(&self, site: SiteId, rule: RuleId, target: &[u8], out: &mut Vec<Binding>) {
        let site = self.site(site);
        let mut room = Room::new();
        let (Some(rule), Ok(reading), Ok((segments, _))) =
            (site.rule(rule), site.read(target, &mut room), all_segments(target))
        else {
            return;
        };
        let mut segments = segments.into_iter();
        let mut bind = |name: &str, value| out.push(Binding { name: name.to_owned(), value });
        if reading.prefix_cut() {
            bind("z_language", Bound::Segment(segments.next().map(notation).unwrap_or_default()));
        }
        for (index, element) in rule.path.iter().enumerate() {
            if *element == Element::Rest && index + 1 == rule.path.len() {
                return bind("*", Bound::Rest(segments.map(notation).collect()));
            }
            let Some(segment) = segments.next() else {
                return;
            };
            let name = match element {
                Element::Literal(_) => continue,
                Element::Variable(name) | Element::Pattern { name, .. } => name,
                Element::Language => "z_language",
                Element::Rest => "*",
            };
            bind(name, Bound::Segment(notation(segment)));
        }
    }
}

/// A segment in the notation of [`Binding`].
pub(super) fn notation(segment: Segment<'_>) -> String {
    let mut text = String::new();
    for byte in segment.decoded() {
        match byte {
            b'"' | b'\\' | b'%' => text.push_str(&format!("%{byte:02X}")),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
