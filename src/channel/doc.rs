//! The document of a channel: Markdown that anyone may write, shown as HTML.
//!
//! What comes out is safe to show to others. The work stays near linear in the length of the text,
//! whoever wrote it: nesting is cut off, and HTML inside the Markdown too where it could multiply
//! the text.

use pulldown_cmark::{Event, Options, Parser, html};

/// The longest a document may be, in bytes: ZooKeeper, which keeps them, takes no more than a mebibyte at
/// a time, and drops the connection of whoever sends it.
pub const MAX_BYTES: u64 = 1_000_000;

/// How deep Markdown may nest; what lies deeper is shown without its markup.
// The sanitiser walks up the open elements at every tag, so depth times length is what it costs.
const MAX_DEPTH: usize = 64;

/// The most HTML tags in the Markdown, times the bytes of the result, for which they stay HTML.
// An HTML parser reopens each formatting element that was left open in each later block, so this
// product is how far a small document can blow up: within this bound, to some two megabytes.
const RAW_HTML_BUDGET: usize = 16 << 20;

/// Renders Markdown (CommonMark, with tables and strikethrough) as an HTML fragment that is safe to
/// show to others: scripts, styles, event handlers and URLs of schemes that run code are gone,
/// whether they came from Markdown or from HTML inside it.
///
/// Of a document that nests deeper than people write, the deepest markup is dropped and its text
/// kept; HTML in the Markdown, where there is far too much of it, is shown as text.
pub fn to_html(markdown: &str) -> String {
    let (mut rendered, tags) = render(markdown, RawHtml::Keep);
    if tags.saturating_mul(rendered.len()) > RAW_HTML_BUDGET {
        rendered = render(markdown, RawHtml::Escape).0;
    }
    ammonia::clean(&rendered)
}

/// What becomes of HTML inside the Markdown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RawHtml {
    Keep,
    Escape,
}

/// The HTML, not yet sanitised, and how many tags of it the Markdown itself contained, at most.
fn render(markdown: &str, raw_html: RawHtml) -> (String, usize) {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut depth = 0usize;
    let mut tags = 0usize;
    let events = Parser::new_ext(markdown, options).filter_map(|event| match event {
        Event::Start(_) => {
            depth += 1;
            (depth <= MAX_DEPTH).then_some(event)
        }
        Event::End(_) => {
            depth = depth.saturating_sub(1);
            (depth < MAX_DEPTH).then_some(event)
        }
        Event::Html(html) | Event::InlineHtml(html) if raw_html == RawHtml::Escape => {
            Some(Event::Text(html))
        }
        Event::Html(ref html) | Event::InlineHtml(ref html) => {
            tags += html.bytes().filter(|byte| *byte == b'<').count();
            Some(event)
        }
        other => Some(other),
    });
    let mut rendered = String::with_capacity(markdown.len() * 3 / 2);
    html::push_html(&mut rendered, events);
    (rendered, tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_html() {
        for (markdown, html) in [
            ("# A *b*", "<h1>A <em>b</em></h1>\n"),
            (
                "[x](http://h/p \"t\")",
                "<p><a href=\"http://h/p\" title=\"t\" rel=\"noopener noreferrer\">x</a></p>\n",
            ),
            ("a < b & c", "<p>a &lt; b &amp; c</p>\n"),
            ("~~a~~", "<p><del>a</del></p>\n"),
            ("", ""),
        ] {
            assert_eq!(to_html(markdown), html, "{markdown:?}");
        }
        let table = to_html("| a | b |\n|---|---|\n| 1 | 2 |");
        assert!(table.contains("<td>1</td><td>2</td>"), "{table}");
    }

    #[test]
    fn harmless_html_stays() {
        assert_eq!(to_html("H<sub>2</sub>O"), "<p>H<sub>2</sub>O</p>\n");
        let folded = to_html("<details><summary>s</summary>\n\n*m*\n\n</details>");
        assert!(folded.starts_with("<details><summary>s</summary>"));
        assert!(folded.contains("<em>m</em>"));
    }

    #[test]
    fn nothing_that_runs_survives() {
        for hostile in [
            "<script>alert(1)</script>",
            "a <script>alert(1)</script> b",
            "<SCRIPT SRC=//evil/alert.js></SCRIPT>",
            "<scr<script>ipt>alert(1)</scr</script>ipt>",
            "<img src=x onerror=alert(1)>",
            "<b onclick=\"alert(1)\">x</b>",
            "<p ONMOUSEOVER='alert(1)'>x",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](&#106;avascript:alert(1))",
            "<a href=\"java\tscript:alert(1)\">x</a>",
            "![x](javascript:alert(1))",
            "[x](data:text/html,alert(1))",
            "[x](vbscript:alert(1))",
            "[x]\n\n[x]: javascript:alert(1)",
            "<javascript:alert(1)>",
            "<a href=\" javascript:alert(1)\">x</a>",
            "<iframe src=\"javascript:alert(1)\"></iframe>",
            "<svg><script>alert(1)</script></svg>",
            "<svg onload=alert(1)>",
            "<math><mtext><style><img src=x onerror=alert(1)></style></mtext></math>",
            "<style>body{background:url(javascript:alert(1))}</style>",
            "<div style=\"background:url(javascript:alert(1))\">x</div>",
            "<form action=\"javascript:alert(1)\"><button>x</button></form>",
            "<base href=\"javascript:alert(1)//\">",
        ] {
            let html = to_html(hostile).to_ascii_lowercase();
            // What a browser takes for markup; escaped text may say what it likes.
            let markup: Vec<_> = html
                .split('<')
                .skip(1)
                .filter_map(|rest| rest.split_once('>'))
                .map(|(tag, _)| tag)
                .collect();
            let markup = markup.join(" ");
            for danger in [
                "script",
                "iframe",
                "style",
                "svg",
                "form",
                "base",
                "onclick",
                "onerror",
                "onload",
                "onmouseover",
                "alert",
                "data:",
            ] {
                assert!(!markup.contains(danger), "{hostile} became {html}");
            }
        }
        // The text of a script goes with it.
        assert_eq!(to_html("a <script>alert(1)</script> b"), "<p>a  b</p>\n");
    }

    #[test]
    fn deep_nesting_is_cut_off_and_its_text_kept() {
        let markdown = format!("{} deep", ">".repeat(5_000));
        // Before sanitising, which would hide it if tags did not match.
        for html in [render(&markdown, RawHtml::Keep).0, to_html(&markdown)] {
            assert_eq!(html.matches("<blockquote>").count(), MAX_DEPTH);
            assert_eq!(html.matches("</blockquote>").count(), MAX_DEPTH);
            assert!(html.contains("deep"));
        }
    }

    #[test]
    fn html_cannot_multiply_the_text() {
        // 1,500 elements left open, to be opened again in each of 1,500 blocks.
        let open: Vec<_> = (0..1_500).map(|i| format!("<b a={i}>")).collect();
        let open = open.concat();
        let attack = format!("x<div>{open}</div>{}", "<div>y</div>".repeat(1_500));
        let html = to_html(&attack);
        assert!(html.len() < attack.len() * 3, "{} bytes", html.len());
        assert!(html.contains("&lt;div&gt;y&lt;/div&gt;"), "shown as text");
    }
}
