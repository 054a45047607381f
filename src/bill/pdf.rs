//! A bill as a PDF: the text page, set in Courier, which every reader has. Letters beyond Windows-1252 are shown as question marks: the page in
//! HTML has them all.

use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str};
use sealcast_objects::api::Bill;

use super::{Parties, page};

/// A4, in points.
const WIDTH: f32 = 595.0;
const HEIGHT: f32 = 842.0;
const MARGIN: f32 = 45.0;
/// The size of letters, unless a line is too long for it.
const SIZE: f32 = 9.0;
/// Width of each letter of Courier, and the distance of lines, as parts of the size.
const LETTER: f32 = 0.6;
const LEADING: f32 = 1.3;
const FONT: Name<'static> = Name(b"F1");

/// The whole file.
pub(super) fn file(bill: &Bill, parties: &Parties) -> Vec<u8> {
    let text = text(bill, parties);
    let lines: Vec<&str> = text.lines().collect();
    let longest = lines.iter().map(|line| line.chars().count()).max();
    let longest = f32::from(u16::try_from(longest.unwrap_or(0).max(1)).unwrap_or(u16::MAX));
    let size = SIZE.min((WIDTH - 2.0 * MARGIN) / (LETTER * longest));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some dozens"
    )]
    let of_page = ((HEIGHT - 2.0 * MARGIN) / (LEADING * size)) as usize;
    let pages: Vec<_> = lines.chunks(of_page.max(1)).collect();
    let mut pdf = Pdf::new();
    let (catalog, tree, font) = (Ref::new(1), Ref::new(2), Ref::new(3));
    let count = i32::try_from(pages.len()).unwrap_or(i32::MAX);
    let page_of = |index: i32| Ref::new(4 + 2 * index);
    let content_of = |index: i32| Ref::new(5 + 2 * index);
    pdf.catalog(catalog).pages(tree);
    pdf.pages(tree).kids((0..count).map(page_of)).count(count);
    pdf.type1_font(font)
        .base_font(Name(b"Courier"))
        .encoding_predefined(Name(b"WinAnsiEncoding"));
    for (index, lines) in (0..count).zip(pages) {
        let mut page = pdf.page(page_of(index));
        page.media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT));
        page.parent(tree);
        page.contents(content_of(index));
        page.resources().fonts().pair(FONT, font);
        page.finish();
        pdf.stream(content_of(index), &content(lines, size));
    }
    pdf.finish()
}

fn text(bill: &Bill, parties: &Parties) -> String {
    let above: Vec<_> = [&parties.seller, &parties.customer]
        .into_iter()
        .map(|party| party.trim_end())
        .filter(|party| !party.is_empty())
        .collect();
    let above = above.join("\n\n");
    let gap = if above.is_empty() { "" } else { "\n\n\n" };
    format!("{above}{gap}{}", page(bill))
}

fn content(lines: &[&str], size: f32) -> Vec<u8> {
    let mut content = Content::new();
    content.begin_text();
    content.set_font(FONT, size);
    content.next_line(MARGIN, HEIGHT - MARGIN - size);
    for line in lines {
        content.show(Str(&windows_1252(line)));
        content.next_line(0.0, -LEADING * size);
    }
    content.end_text();
    content.finish().to_vec()
}

/// As the font's encoding has it.
fn windows_1252(text: &str) -> Vec<u8> {
    let letter = |letter: char| match letter {
        ' '..='~' | '\u{a0}'..='\u{ff}' => u8::try_from(u32::from(letter)).unwrap_or(b'?'),
        '€' => 0x80,
        '…' => 0x85,
        '‘' => 0x91,
        '’' => 0x92,
        '“' => 0x93,
        '”' => 0x94,
        '–' => 0x96,
        '—' => 0x97,
        'Š' => 0x8a,
        'š' => 0x9a,
        'Ž' => 0x8e,
        'ž' => 0x9e,
        'Œ' => 0x8c,
        'œ' => 0x9c,
        _ => b'?',
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::windows_1252;

    #[test]
    fn letters_are_those_of_the_font_or_question_marks() {
        assert_eq!(windows_1252("a~ü€\u{7}Ω"), b"a~\xfc\x80??");
    }
}
