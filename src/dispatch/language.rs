//! Which segments are languages.

use super::path::Segment;

/// The languages of a site, as `z_language` and language prefixes see them.
#[derive(Debug)]
pub(super) struct Languages {
    codes: Vec<Box<[u8]>>,
    /// Bit n: a code has n bytes; the last bit: so many or more.
    lengths: u64,
}

impl Languages {
    pub(super) fn new(codes: &[String]) -> Languages {
        let lengths = codes.iter().fold(0, |lengths, code| lengths | length_bit(code.len()));
        Languages { codes: codes.iter().map(|code| code.as_bytes().into()).collect(), lengths }
    }

    /// Whether a leading segment of this language is cut: never on a site that names none.
    #[inline]
    pub(super) fn is_prefix(&self, segment: Segment<'_>) -> bool {
        // Most segments are no language, and have not the length of one.
        (segment.escaped || self.lengths & length_bit(segment.raw.len()) != 0)
            && self.codes.iter().any(|code| segment.equals(code))
    }

    /// Whether `z_language` takes the segment. A site that names no languages takes any code of
    /// ISO 639-1, as the original does with its own list.
    pub(super) fn is_language(&self, segment: Segment<'_>) -> bool {
        if self.codes.is_empty() {
            iso_639_1().any(|code| segment.equals(code))
        } else {
            self.is_prefix(segment)
        }
    }

    /// All that `z_language` takes.
    pub(super) fn all(&self) -> Vec<Vec<u8>> {
        if self.codes.is_empty() {
            return iso_639_1().map(<[u8]>::to_vec).collect();
        }
        self.codes.iter().map(|code| code.to_vec()).collect()
    }
}

fn length_bit(bytes: usize) -> u64 {
    1 << bytes.min(63)
}

fn iso_639_1() -> impl Iterator<Item = &'static [u8]> {
    ISO_639_1.as_bytes().chunks_exact(3).map(|code| &code[..2])
}

/// Two letters and a space each.
const ISO_639_1: &str = "\
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz \
ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik \
io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml \
mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd \
se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi \
vo wa wo xh yi yo za zh zu ";

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(text: &str) -> Segment<'_> {
        Segment { raw: text.as_bytes(), escaped: text.contains('%') }
    }

    #[test]
    fn a_site_without_languages_takes_iso_codes_and_cuts_nothing() {
        let none = Languages::new(&[]);
        for (text, expected) in [
            ("en", true),
            ("nl", true),
            ("zu", true),
            ("aa", true),
            ("zz", false),
            ("e", false),
            ("", false),
            ("n ", false),
            ("EN", false),
        ] {
            assert_eq!(none.is_language(segment(text)), expected, "{text}");
            assert!(!none.is_prefix(segment(text)));
        }
        let two = Languages::new(&["en".into(), "pt-br".into()]);
        assert!(two.is_language(segment("pt-br")) && two.is_prefix(segment("en")));
        assert!(!two.is_language(segment("nl")) && two.is_language(segment("%65n")));
        let long = "x".repeat(70);
        let one = Languages::new(std::slice::from_ref(&long));
        assert!(one.is_prefix(segment(&long)) && !one.is_prefix(segment(&long[1..])));
    }
}
