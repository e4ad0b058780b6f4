//! The status codes we answer with ourselves, and a sentence for each.

/// The reason phrase and one sentence for a visitor; unknown codes get those of their class (RFC 9110 §15).
pub fn words(status: u16) -> (&'static str, &'static str) {
    match status {
        100 => ("Continue", ""),
        101 => ("Switching Protocols", ""),
        200 => ("OK", ""),
        301 => ("Moved Permanently", "This page has moved."),
        302 => ("Found", "This page is at another address for now."),
        307 => ("Temporary Redirect", "This page is at another address for now."),
        308 => ("Permanent Redirect", "This page has moved."),
        400 => ("Bad Request", "The request could not be understood."),
        404 => ("Not Found", "There is no such page here."),
        405 => ("Method Not Allowed", "This method is not available here."),
        408 => ("Request Timeout", "The request took too long to arrive."),
        413 => ("Content Too Large", "The request is larger than this site accepts."),
        414 => ("URI Too Long", "The address of the page is too long."),
        417 => ("Expectation Failed", "The request expects something this server does not do."),
        421 => ("Misdirected Request", "This connection does not serve the requested site."),
        429 => ("Too Many Requests", "Too many requests; please wait a moment."),
        431 => {
            ("Request Header Fields Too Large", "The request head is too large; removing cookies may help.")
        }
        500 => ("Internal Server Error", "Something went wrong here."),
        501 => ("Not Implemented", "The request needs something this server does not do."),
        502 => ("Bad Gateway", "The site gave no usable answer."),
        503 => ("Service Unavailable", "The site is not available at the moment."),
        504 => ("Gateway Timeout", "The site took too long to answer."),
        _ => words_of_class(status),
    }
}

fn words_of_class(status: u16) -> (&'static str, &'static str) {
    match status / 100 {
        0 | 1 => ("Informational", ""),
        2 => ("OK", "Done."),
        3 => ("Redirect", "This page is at another address."),
        4 => words(400),
        _ => words(500),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_words() {
        for status in 100..=999 {
            assert!(!words(status).0.is_empty(), "{status}");
        }
        assert_eq!(words(499), words(400));
        assert_eq!(words(999), words(500));
    }
}
