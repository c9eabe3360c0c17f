use std::fmt::Write;

use serde_json::Value;

use super::*;
use crate::random::Random;

/// What is watched in all tests.
const NAMES: [&str; 3] = ["model", "é\"", "n"];

macro_rules! scans_to {
    ($($name:ident: $text:expr => $expected:expr;)*) => {
        $(#[test]
        fn $name() {
            let text = $text;
            let text: &[u8] = text.as_ref();
            let expected: &str = $expected.as_ref();
            assert_eq!(scan_all([text]), expected, "whole");
            assert_eq!(scan_all(text.chunks(1)), expected, "byte by byte");
            for at in 0..=text.len() {
                let (front, back) = text.split_at(at);
                assert_eq!(scan_all([front, back]), expected, "split at {at}");
            }
            assert_agrees_with_serde_json(text);
        })*
    };
}

scans_to! {
    an_empty_object: "{}" => "{}@1";
    white_space_around_everything: " \t\r\n{ \"model\"\t:\r\n\"a\" ,\"x\" : [ 1 , { } ] }\n " => r#"0 String@17..20 "a" {..}@40"#;
    a_string: r#"{"model":"a"}"# => r#"0 String@9..12 "a" {..}@12"#;
    an_empty_string: r#"{"model":""}"# => r#"0 String@9..11 "" {..}@11"#;
    null: r#"{"model":null}"# => "0 Null@9..13 null {..}@13";
    true_and_false: r#"{"model":true,"n":false}"# => "0 Bool@9..13 true 2 Bool@18..23 false {..}@23";
    a_number_ends_at_the_brace: r#"{"n":-0.5e+10}"# => "2 Number@5..13 -0.5e+10 {..}@13";
    a_number_ends_at_the_comma: r#"{"n":0,"x":0}"# => "2 Number@5..6 0 {..}@12";
    a_number_ends_at_white_space: "{\"n\":12\n}" => "2 Number@5..7 12 {..}@8";
    an_object_is_one_value: r#"{"n":{"n":[1,{"n":2}],"model":3}}"# => r#"2 Object@5..32 {"n":[1,{"n":2}],"model":3} {..}@32"#;
    an_array_is_one_value: r#"{"n":[[],[{}],"]"],"x":1}"# => r#"2 Array@5..18 [[],[{}],"]"] {..}@24"#;
    members_inside_others_are_not_reported: r#"{"x":{"model":1,"model":2},"y":[{"n":3}]}"# => "{..}@40";
    values_that_are_names_are_not_keys: r#"{"x":"model","y":["n"]}"# => "{..}@22";
    other_members_may_repeat: r#"{"x":1,"x":2}"# => "{..}@12";
    keys_are_compared_decoded: r#"{"mod\u0065l":1,"\u00e9\"":2}"# => "0 Number@14..15 1 1 Number@27..28 2 {..}@28";
    a_key_escaped_throughout: r#"{"\u006d\u006F\u0064\u0065\u006c":1}"# => "0 Number@34..35 1 {..}@35";
    keys_that_only_begin_like_a_name: r#"{"mode":1,"models":2,"":3,"model\u0000":4}"# => "{..}@41";
    a_long_key_whose_front_is_a_name: format!(r#"{{"model\"{}":1}}"#, "x".repeat(200)) => "{..}@212";
    a_key_that_is_a_lone_surrogate: r#"{"\ud800":1}"# => "{..}@11";
    every_escape: r#"{"model":"\"\\\/\b\f\n\r\t\u00Ff\ud83d\ude00"}"# => r#"0 String@9..45 "\"\\\/\b\f\n\r\t\u00Ff\ud83d\ude00" {..}@45"#;
    lone_surrogates_pass: r#"{"model":"\udc00\ud800x"}"# => r#"0 String@9..24 "\udc00\ud800x" {..}@24"#;
    numbers_out_of_range_pass: r#"{"n":-1e999,"x":123456789012345678901234567890}"# => "2 Number@5..11 -1e999 {..}@46";
    characters_of_every_length: r#"{"é\"":"aé好😀\u007f好"}"# => r#"1 String@8..29 "aé好😀\u007f好" {..}@29"#;
    the_first_and_last_of_each_length: "{\"x\":\"\u{7f}\u{80}\u{7ff}\u{800}\u{fff}\u{1000}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{3ffff}\u{40000}\u{10ffff}\"}" => "{..}@46";
    words_beyond_ascii: r#"{"n":"при вет, при \n 好 好  é "}"# => r#"2 String@5..44 "при вет, при \n 好 好  é " {..}@44"#;
}

scans_to! {
    nothing: "" => "! the text ends at byte 0, before its value does";
    only_white_space: " \n" => "! the text ends at byte 2, before its value does";
    an_array: " [{}]" => "! the value at byte 1 is not an object";
    a_bare_string: r#""{}""# => "! the value at byte 0 is not an object";
    a_bare_number: "-1" => "! the value at byte 0 is not an object";
    a_bare_null: "null" => "! the value at byte 0 is not an object";
    a_byte_order_mark: "\u{feff}{}" => "! unexpected 0xef at byte 0, expected `{`";
    not_json: "model=a" => "! unexpected `m` at byte 0, expected `{`";
    a_second_object: "{} {}" => "{}@1 ! unexpected `{` at byte 3, expected nothing after the object";
    a_brace_too_many: "{}}" => "{}@1 ! unexpected `}` at byte 2, expected nothing after the object";
    a_nul_at_the_end: "{}\0" => "{}@1 ! unexpected 0x00 at byte 2, expected nothing after the object";
    no_end: r#"{"x":1"# => "! the text ends at byte 6, before its value does";
    no_end_of_a_string: r#"{"model":"a"# => "! the text ends at byte 11, before its value does";
    no_end_of_an_escape: r#"{"x":"\u00"# => "! the text ends at byte 10, before its value does";
    no_end_of_a_character: b"{\"x\":\"\xf0\x9f\x98" => "! the text ends at byte 9, before its value does";
    no_end_of_a_literal: r#"{"x":nul"# => "! the text ends at byte 8, before its value does";
    a_comma_first: "{,}" => "! unexpected `,` at byte 1, expected `\"` or `}`";
    a_comma_last: r#"{"x":1,}"# => "! unexpected `}` at byte 7, expected `\"`";
    two_commas: r#"{"x":1,,"y":2}"# => "! unexpected `,` at byte 7, expected `\"`";
    no_comma: r#"{"x":1 "y":2}"# => "! unexpected `\"` at byte 7, expected `,` or `}`";
    a_comma_last_in_an_array: r#"{"x":[1,]}"# => "! unexpected `]` at byte 8, expected a value";
    a_comma_first_in_an_array: r#"{"x":[,1]}"# => "! unexpected `,` at byte 6, expected a value or `]`";
    no_comma_in_an_array: r#"{"x":["a""b"]}"# => "! unexpected `\"` at byte 9, expected `,` or `]`";
    a_colon_in_an_array: r#"{"x":["a":1]}"# => "! unexpected `:` at byte 9, expected `,` or `]`";
    an_array_closed_by_a_brace: r#"{"x":[1}"# => "! unexpected `}` at byte 7, expected `,` or `]`";
    an_object_closed_by_a_bracket: r#"{"x":1]"# => "! unexpected `]` at byte 6, expected `,` or `}`";
    an_empty_array_closed_by_a_brace: r#"{"x":[}"# => "! unexpected `}` at byte 6, expected a value or `]`";
    an_empty_object_closed_by_a_bracket: r#"{"x":{]"# => "! unexpected `]` at byte 6, expected `\"` or `}`";
    a_key_without_quotes: "{model:1}" => "! unexpected `m` at byte 1, expected `\"` or `}`";
    a_key_in_single_quotes: "{'x':1}" => "! unexpected `'` at byte 1, expected `\"` or `}`";
    a_number_as_key: "{1:1}" => "! unexpected `1` at byte 1, expected `\"` or `}`";
    no_colon: r#"{"x" 1}"# => "! unexpected `1` at byte 5, expected `:`";
    no_colon_and_no_value: r#"{"x"}"# => "! unexpected `}` at byte 4, expected `:`";
    no_value: r#"{"model":}"# => "! unexpected `}` at byte 9, expected a value";
    a_comment: "{/**/}" => "! unexpected `/` at byte 1, expected `\"` or `}`";
    a_form_feed_is_no_white_space: "{\x0c}" => "! unexpected 0x0c at byte 1, expected `\"` or `}`";
    a_no_break_space_is_no_white_space: "{\u{a0}}" => "! unexpected 0xc2 at byte 1, expected `\"` or `}`";
    a_wrong_literal: r#"{"x":nulL}"# => "! unexpected `L` at byte 8, expected `true`, `false` or `null`";
    a_literal_in_capitals: r#"{"x":True}"# => "! unexpected `T` at byte 5, expected a value";
    a_literal_that_goes_on: r#"{"x":nulll}"# => "! unexpected `l` at byte 9, expected `,` or `}`";
    nan: r#"{"x":NaN}"# => "! unexpected `N` at byte 5, expected a value";
    a_leading_zero: r#"{"x":01}"# => "! unexpected `1` at byte 6, expected `,` or `}`";
    a_leading_zero_after_a_minus: r#"{"x":-01}"# => "! unexpected `1` at byte 7, expected `,` or `}`";
    a_plus: r#"{"x":+1}"# => "! unexpected `+` at byte 5, expected a value";
    a_point_first: r#"{"x":.5}"# => "! unexpected `.` at byte 5, expected a value";
    a_point_last: r#"{"x":5.}"# => "! unexpected `}` at byte 7, expected a digit";
    only_a_minus: r#"{"x":-}"# => "! unexpected `}` at byte 6, expected a digit";
    two_minuses: r#"{"x":--1}"# => "! unexpected `-` at byte 6, expected a digit";
    two_points: r#"{"x":1.2.3}"# => "! unexpected `.` at byte 8, expected `,` or `}`";
    an_empty_exponent: r#"{"x":1e}"# => "! unexpected `}` at byte 7, expected a digit, `+` or `-`";
    an_exponent_of_only_a_sign: r#"{"x":1E-}"# => "! unexpected `}` at byte 8, expected a digit";
    a_fraction_in_the_exponent: r#"{"x":1e1.5}"# => "! unexpected `.` at byte 8, expected `,` or `}`";
    a_hexadecimal_number: r#"{"x":0x1}"# => "! unexpected `x` at byte 6, expected `,` or `}`";
    a_line_feed_in_a_string: "{\"x\":\"a\nb\"}" => "! unexpected 0x0a at byte 7, expected a character or an escape";
    a_nul_in_a_key: "{\"a\0\":1}" => "! unexpected 0x00 at byte 3, expected a character or an escape";
    a_unit_separator_in_a_string: "{\"x\":\"\x1f\"}" => "! unexpected 0x1f at byte 6, expected a character or an escape";
    an_unknown_escape: r#"{"x":"\x41"}"# => "! unexpected `x` at byte 7, expected an escape";
    a_capital_escape: r#"{"x":"\N"}"# => "! unexpected `N` at byte 7, expected an escape";
    a_short_unicode_escape: r#"{"x":"\u12"}"# => "! unexpected `\"` at byte 10, expected a hexadecimal digit";
    a_unicode_escape_of_other_letters: r#"{"x":"\u00g0"}"# => "! unexpected `g` at byte 10, expected a hexadecimal digit";
    an_escaped_character_beyond_ascii: r#"{"x":"\é"}"# => "! unexpected 0xc3 at byte 7, expected an escape";
    a_continuation_first: b"{\"x\":\"a\x80\"}" => "! invalid UTF-8 at byte 7";
    a_lead_without_continuation: b"{\"x\":\"\xc3\"}" => "! invalid UTF-8 at byte 6";
    a_character_cut_by_the_quote: b"{\"x\":\"\xe5\xa5\"}" => "! invalid UTF-8 at byte 6";
    a_character_cut_by_an_escape: b"{\"x\":\"\xf0\x9f\x98\\n\"}" => "! invalid UTF-8 at byte 6";
    an_overlong_slash: b"{\"x\":\"\xc0\xaf\"}" => "! invalid UTF-8 at byte 6";
    an_overlong_letter: b"{\"x\":\"\xc1\xa1\"}" => "! invalid UTF-8 at byte 6";
    an_overlong_character_of_three_bytes: b"{\"x\":\"\xe0\x9f\xbf\"}" => "! invalid UTF-8 at byte 6";
    an_overlong_character_of_four_bytes: b"{\"x\":\"\xf0\x8f\xbf\xbf\"}" => "! invalid UTF-8 at byte 6";
    a_surrogate_in_utf8: b"{\"x\":\"\xc3\xa9\xed\xa0\x80\"}" => "! invalid UTF-8 at byte 8";
    a_character_past_the_last: b"{\"x\":\"\xf4\x90\x80\x80\"}" => "! invalid UTF-8 at byte 6";
    latin_1_in_a_key: b"{\"caf\xe9\":1}" => "! invalid UTF-8 at byte 5";
    utf16: b"\xff\xfe{\0}\0" => "! unexpected 0xff at byte 0, expected `{`";
    a_member_twice: r#"{"model":"a","x":1,"model":"a"}"# => r#"0 String@9..12 "a" ! duplicate member at byte 19"#;
    a_member_in_another_case: r#"{"model":"a","Model":"b"}"# => r#"0 String@9..12 "a" ! the name at byte 13 differs from that of a known member in upper and lower case alone"#;
    a_member_in_another_case_alone: r#"{"M\u006fDEL":"b"}"# => "! the name at byte 1 differs from that of a known member in upper and lower case alone";
    a_member_twice_escaped_once: r#"{"n":1,"\u006e":1}"# => "2 Number@5..6 1 ! duplicate member at byte 7";
}

#[test]
fn depth_up_to_the_limit() {
    for (open, close) in [("[", "]"), ("{\"n\":", "}")] {
        for depth in [1, 63, 64, 65, 127, 128, 511] {
            let value = open.repeat(depth) + "1" + &close.repeat(depth);
            let text = format!(r#"{{"x":{value}}}"#);
            let expected = format!("{{..}}@{}", text.len() - 1);
            assert_eq!(scan_all([text.as_bytes()]), expected, "{open} {depth}");
        }
        let text = format!(r#"{{"x":{}"#, open.repeat(512));
        let at = 5 + 511 * open.len();
        let expected = format!("! nested deeper than 512 levels at byte {at}");
        assert_eq!(scan_all([text.as_bytes()]), expected);
        assert_eq!(scan_all(text.as_bytes().chunks(1)), expected);
    }
}

#[test]
fn objects_and_arrays_close_in_the_order_in_which_they_opened() {
    let (mut open, mut close) = (String::new(), String::new());
    for n in 0..MAX_DEPTH - 1 {
        let (before, after) = if n % 3 == 0 {
            ("[", "]")
        } else {
            ("{\"k\":", "}")
        };
        open.push_str(before);
        close.insert_str(0, after);
    }
    let text = format!(r#"{{"x":{open}0{close}}}"#);
    assert_eq!(
        scan_all([text.as_bytes()]),
        format!("{{..}}@{}", text.len() - 1)
    );
    for at in 5 + open.len() + 1..text.len() - 1 {
        let mut wrong = text.clone().into_bytes();
        wrong[at] ^= b']' ^ b'}';
        let error = scan_all([&wrong[..]]);
        assert!(error.starts_with("! unexpected") && error.contains(&format!("byte {at},")));
    }
}

#[test]
fn every_end_of_a_run_at_every_place_of_a_block() {
    for before in 0..200 {
        for end in ["\"", "\\n", "\u{1f}", "é", "\\", "\u{7f}é", "! #[]~", "é a"] {
            let plain = "a".repeat(before);
            let text = format!(r#"{{"x":"{plain}{end}{}"}}"#, "b".repeat(150));
            let expected = match end {
                "\"" => format!(
                    "! unexpected `b` at byte {}, expected `,` or `}}`",
                    before + 7
                ),
                "\\" => format!("{{..}}@{}", text.len() - 1),
                "\u{1f}" => format!(
                    "! unexpected 0x1f at byte {}, expected a character or an escape",
                    before + 6,
                ),
                _ => format!("{{..}}@{}", text.len() - 1),
            };
            assert_eq!(scan_all([text.as_bytes()]), expected);
            assert_agrees_with_serde_json(text.as_bytes());
        }
    }
}

#[test]
fn an_error_stays() {
    let mut scanner = Scanner::new(Watched::new(NAMES));
    let error = scanner.scan(&mut &b" x"[..]);
    assert_eq!(error, scanner.scan(&mut &b"{}"[..]));
    assert_eq!(error.unwrap_err(), scanner.finish().unwrap_err());
    assert_eq!(scanner.position(), 1);
}

#[test]
fn the_text_of_an_open_value_is_what_was_consumed_of_it() {
    let mut scanner = Scanner::new(Watched::new(NAMES));
    assert_eq!(scanner.value_text(), ValueText::Whole(b""));
    let mut input = &br#"{"model": "gro"#[..];
    assert!(matches!(
        scanner.scan(&mut input),
        Ok(Event::ValueStart { at: 10, .. })
    ));
    assert_eq!((scanner.position(), input), (10, &b"\"gro"[..]));
    assert_eq!(scanner.value_text(), ValueText::Whole(b""));
    assert_eq!(scanner.scan(&mut input), Ok(Event::InputEmpty));
    assert_eq!(scanner.value_text(), ValueText::Whole(b"\"gro"));
    let mut input = &br#"k", "x": 1, "n": 1.5}"#[..];
    assert_eq!(
        scanner.scan(&mut input),
        Ok(Event::ValueEnd {
            member: 0,
            range: 10..16
        })
    );
    assert_eq!(scanner.value_text(), ValueText::Whole(b"\"grok\""));
    assert!(matches!(
        scanner.scan(&mut input),
        Ok(Event::ValueStart { member: 2, .. })
    ));
    assert_eq!(scanner.value_text(), ValueText::Whole(b""));
    assert_eq!(
        scanner.scan(&mut input),
        Ok(Event::ValueEnd {
            member: 2,
            range: 31..34
        })
    );
    assert_eq!(scanner.value_text(), ValueText::Whole(b"1.5"));
}

#[test]
fn a_value_past_the_limit_is_cut() {
    for chunk in [1, 100, 4096, 10_000] {
        for (length, cut) in [(4095, false), (4096, false), (4097, true), (9000, true)] {
            let value = format!("\"{}\"", "a".repeat(length - 2));
            let text = format!(r#"{{"model":{value},"x":"yyyy"}}"#);
            let mut scanner = Scanner::new(Watched::new(NAMES));
            for mut input in text.as_bytes().chunks(chunk) {
                while scanner.scan(&mut input).unwrap() != Event::InputEmpty {}
            }
            let kept = &value.as_bytes()[..length.min(CAPTURE_LIMIT)];
            let expected = if cut {
                ValueText::Cut(kept)
            } else {
                ValueText::Whole(kept)
            };
            assert_eq!(scanner.value_text(), expected, "{length} {chunk}");
        }
    }
}

#[test]
fn a_name_listed_twice_is_its_first_position() {
    let watched = Watched::new(["x".to_owned(), "n".to_owned(), "n".to_owned()]);
    assert_eq!(
        (watched.len(), watched.name(2), watched.name(3)),
        (3, Some("n"), None)
    );
    let mut scanner = Scanner::new(watched);
    let event = scanner.scan(&mut &br#"{"n":1}"#[..]);
    assert!(matches!(event, Ok(Event::ValueStart { member: 1, .. })));
}

#[test]
fn without_names_it_only_validates() {
    let mut scanner = Scanner::new(Watched::new([""; 0]));
    let event = scanner.scan(&mut &br#"{"model":1,"":2}"#[..]);
    assert_eq!(
        event,
        Ok(Event::ObjectEnd {
            close: 15,
            is_empty: false
        })
    );
    assert_eq!(scanner.finish(), Ok(()));
}

#[test]
fn strings_decode() {
    for (text, expected) in [
        (r#""""#, Some("")),
        (r#""grok-2 é好😀""#, Some("grok-2 é好😀")),
        (r#""a\"\\\/\b\f\n\r\t""#, Some("a\"\\/\u{8}\u{c}\n\r\t")),
        (r#""\u00e9\ud83d\ude00""#, Some("é😀")),
        (r#""\ud83d""#, None),
        (r#""\ude00x""#, None),
        (r#""a"b""#, None),
        (r#""a\""#, None),
        (r#""a" "#, None),
        (r#" "a""#, None),
        (r#""a","b""#, None),
        ("\"a\nb\"", None),
        ("\"", None),
        ("", None),
        ("null", None),
    ] {
        assert_eq!(
            decode_string(text.as_bytes()).as_deref(),
            expected,
            "{text}"
        );
    }
    assert_eq!(decode_string(b"\"\xff\""), None);
    assert!(matches!(
        decode_string(b"\"a\""),
        Some(std::borrow::Cow::Borrowed("a"))
    ));
}

#[test]
fn strings_encode_as_serde_json_does() {
    let all: String = ('\0'..='\u{a0}')
        .chain("é好😀\u{2028}\u{ffff}".chars())
        .collect();
    let text = encode_string(&all);
    assert_eq!(text, serde_json::to_string(&all).unwrap());
    assert_eq!(
        decode_string(text.as_bytes()).as_deref(),
        Some(all.as_str())
    );
}

#[test]
fn splices_change_their_places_only() {
    let splice = |start, end, with: &str| Splice {
        range: start..end,
        with: with.into(),
    };
    let none: &[Splice] = &[];
    for (base, splices, expected) in [
        (0, none, "0123456789"),
        (0, &[splice(0, 0, "a")], "a0123456789"),
        (0, &[splice(10, 10, "a")], "0123456789a"),
        (0, &[splice(0, 10, "")], ""),
        (
            0,
            &[
                splice(2, 4, "abc"),
                splice(4, 4, "d"),
                splice(4, 4, "e"),
                splice(9, 10, ""),
            ],
            "01abcde45678",
        ),
        (100, &[splice(101, 103, "a")], "0a3456789"),
        (
            u64::MAX - 10,
            &[splice(u64::MAX, u64::MAX, "a")],
            "0123456789a",
        ),
    ] {
        let mut out = b"> ".to_vec();
        assert_eq!(apply(b"0123456789", base, splices, &mut out), Ok(()));
        assert_eq!(String::from_utf8(out).unwrap(), format!("> {expected}"));
    }
    let mut out = Vec::new();
    apply(b"0123456789", 0, &[splice(1, 2, "abc")], &mut out).unwrap();
    assert_eq!((out.len(), out.capacity()), (12, 12));
}

#[test]
fn splices_that_do_not_follow_each_other_change_nothing() {
    for (index, ranges) in [
        (0, &[(0, 11)][..]),
        (0, &[(99, 100)]),
        (0, &[(120, 120)]),
        (0, &[(109, 111)]),
        (0, &[(105, 104)]),
        (1, &[(101, 103), (102, 104)]),
        (1, &[(104, 105), (101, 102)]),
        (2, &[(101, 102), (102, 102), (101, 101)]),
        (1, &[(101, 102), (u64::MAX, u64::MAX)]),
    ] {
        let splices: Vec<_> = ranges
            .iter()
            .map(|range| Splice {
                range: range.0..range.1,
                with: b"x".to_vec(),
            })
            .collect();
        let mut out = b"kept".to_vec();
        let error = apply(b"0123456789", 100, &splices, &mut out).unwrap_err();
        assert_eq!(
            (error, &out[..]),
            (InvalidSplices { index }, &b"kept"[..]),
            "{ranges:?}"
        );
    }
}

#[test]
fn mutated_bodies_agree_with_serde_json() {
    for seed in 1..=6000 {
        let mut random = Random::numbered(seed);
        let mut text = BODIES[random.below(BODIES.len())].as_bytes().to_vec();
        for _ in 0..random.below(4) {
            mutate(&mut text, &mut random);
        }
        let whole = scan_all([&text[..]]);
        let mut chunks = Vec::new();
        let mut rest = &text[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(1 + random.below(rest.len().min(40)));
            chunks.push(chunk);
            rest = after;
        }
        let shown = String::from_utf8_lossy(&text);
        assert_eq!(whole, scan_all(chunks), "seed {seed}: {shown}");
        let agrees = std::panic::catch_unwind(|| assert_agrees_with_serde_json(&text));
        assert!(agrees.is_ok(), "seed {seed}: {shown}");
    }
}

#[test]
fn random_bytes_of_json_agree_with_serde_json() {
    for seed in 1..=20_000 {
        let mut random = Random::numbered(seed);
        let mut text = br#"{"n":"#.to_vec();
        for _ in 0..random.below(12) {
            text.extend_from_slice(TOKENS[random.below(TOKENS.len())].as_bytes());
        }
        text.push(b'}');
        let shown = String::from_utf8_lossy(&text);
        let agrees = std::panic::catch_unwind(|| assert_agrees_with_serde_json(&text));
        assert!(agrees.is_ok(), "seed {seed}: {shown}");
        assert_eq!(
            scan_all([&text[..]]),
            scan_all(text.chunks(1)),
            "seed {seed}: {shown}"
        );
    }
}

/// What a scanner that watches [`NAMES`] says about a text, in one line.
///
/// `0 String@9..12 "a"` is the value of the first name, `{}@1` the closing brace of an empty object,
/// `{..}@1` of another, `!` the error. A value that began and did not end is left out.
fn scan_all<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut told = Vec::new();
    let result = scan_into(chunks, |event, text| match event {
        Event::InputEmpty => {}
        Event::ObjectEnd {
            close,
            is_empty: true,
        } => told.push(format!("{{}}@{close}")),
        Event::ObjectEnd {
            close,
            is_empty: false,
        } => told.push(format!("{{..}}@{close}")),
        Event::ValueStart { member, at, kind } => told.push(format!("{member} {kind:?}@{at}")),
        Event::ValueEnd { range, .. } => {
            let text = String::from_utf8_lossy(text);
            write!(told.last_mut().unwrap(), "..{} {text}", range.end).unwrap();
        }
    });
    told.retain(|told| told.starts_with('{') || told.contains(".."));
    told.extend(result.err().map(|error| format!("! {error}")));
    told.join(" ")
}

fn scan_into<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    mut tell: impl FnMut(&Event, &[u8]),
) -> Result<(), InvalidJson> {
    let mut scanner = Scanner::new(Watched::new(NAMES));
    let mut fed = 0;
    let mut value_at = None;
    for mut input in chunks {
        fed += input.len() as u64;
        loop {
            let event = scanner.scan(&mut input)?;
            assert_eq!(scanner.position(), fed - input.len() as u64);
            let (ValueText::Cut(text) | ValueText::Whole(text)) = scanner.value_text();
            tell(&event, text);
            match event {
                Event::InputEmpty => break,
                Event::ObjectEnd { close, .. } => assert_eq!(scanner.position(), close + 1),
                Event::ValueStart { member, at, .. } => {
                    assert_eq!(scanner.position(), at);
                    assert_eq!(value_at.replace((member, at)), None);
                }
                Event::ValueEnd { member, range } => {
                    assert_eq!(scanner.position(), range.end);
                    assert_eq!(value_at.take(), Some((member, range.start)));
                }
            }
        }
        assert!(input.is_empty());
    }
    scanner.finish()
}

/// The same texts are accepted, apart from the differences that the module lists, and the values
/// are where serde_json finds them.
fn assert_agrees_with_serde_json(text: &[u8]) {
    // No surrogate escapes, and nothing moved: `\ud800` becomes `\u0800`.
    let mut tame = text.to_vec();
    for n in 0..tame.len().saturating_sub(2) {
        if tame[n] == b'u' && matches!(tame[n + 1], b'd' | b'D') && tame[n + 2] >= b'8' {
            tame[n + 1] = b'0';
        }
    }
    let mut ranges = Vec::new();
    let result = scan_into([text], |event, _| {
        if let Event::ValueEnd { member, range } = event {
            let range = range.start as usize..range.end as usize;
            ranges.push((*member, range));
        }
    });
    let value = match serde_json::from_slice(&tame) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("not an object".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    match (result, value) {
        (Ok(()), Ok(object)) => {
            let mut watched = NAMES
                .iter()
                .filter(|name| object.contains_key(**name))
                .count();
            for (member, range) in ranges {
                let value: Value = serde_json::from_slice(&tame[range.clone()]).unwrap();
                assert_eq!(object[NAMES[member]], value);
                assert!(!tame[range.start].is_ascii_whitespace());
                assert!(!tame[range.end - 1].is_ascii_whitespace());
                watched -= 1;
            }
            assert_eq!(watched, 0, "all are reported");
        }
        (Ok(()), Err(error)) => {
            let is_known = ["number out of range", "recursion limit exceeded"];
            assert!(
                is_known.iter().any(|known| error.starts_with(known)),
                "{error}"
            );
        }
        (Err(InvalidJson::Duplicate { member, .. }), _) => {
            assert!(ranges.iter().any(|range| range.0 == member));
        }
        (Err(InvalidJson::Lookalike { .. }), _) => {}
        (Err(error), Ok(_)) => panic!("only serde_json accepts it: {error}"),
        (Err(_), Err(_)) => {}
    }
}

fn mutate(text: &mut Vec<u8>, random: &mut Random) {
    // One byte is left whatever happens, so that there is always a place.
    let at = random.below(text.len());
    match random.below(6) {
        0 => text[at] = random.below(256) as u8,
        1 => text[at] ^= 1 << random.below(8),
        2 if text.len() > 1 => _ = text.remove(at),
        3 => text.truncate(at.max(1)),
        4 => {
            let token = TOKENS[random.below(TOKENS.len())];
            text.splice(at..at, token.bytes());
        }
        _ => {
            let from = random.below(text.len());
            let to = (from + random.below(20)).min(text.len());
            let copy = text[from..to].to_vec();
            text.splice(at..at, copy);
        }
    }
}

const TOKENS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\"a\"",
    "\"n\":",
    "\"model\":",
    "null",
    "true",
    "false",
    "0",
    "1",
    "-",
    ".",
    "e",
    "E+",
    "12",
    "-0.5e3",
    "\\",
    "\\n",
    "\\u00e9",
    "\\ud800",
    "\\ud83d\\ude00",
    "é",
    "好",
    "😀",
    " ",
    "\n",
    "\t",
    "\u{1f}",
    "\u{feff}",
    "/",
    "nul",
    "{\"x\":1}",
    "[1,2]",
    "\"\\\"\"",
    "x",
];

const BODIES: [&str; 6] = [
    r#"{"model":"gpt-4o","messages":[{"role":"system","content":"You are helpful."},{"role":"user","content":"Say \"hi\" to \u00e9 and 好的, 谢谢 😀.\n\tThen stop, please; this line is longer than one block of the scanner is."}],"temperature":0.7,"n":1,"stream":true,"stream_options":{"include_usage":true}}"#,
    "{\n  \"messages\": [\n    {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"What is in this picture?\"}, {\"type\": \"image_url\", \"image_url\": {\"url\": \"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==\"}}]}\n  ],\n  \"max_tokens\": 300,\n  \"model\" : \"grok-2-vision\" ,\n  \"seed\": 9007199254740993, \"logit_bias\": {\"50256\": -100}\n}\n",
    r#"{"model":null,"n":-1.5E+2,"tools":[{"type":"function","function":{"name":"get_weather","description":"","parameters":{"type":"object","properties":{"city":{"type":"string","enum":["Zürich","München"]},"n":{"type":"integer"}},"required":["city"],"additionalProperties":false}}}],"tool_choice":"auto"}"#,
    r#"{"input":[[15339,1917],[0]],"mod\u0065l":"text-embedding-3-small","encoding_format":"base64","é\"":{"n":[{"model":[]}]}}"#,
    r#"{"messages":[{"role":"tool","content":"{\"a\":[1,2,{\"b\":\"c\\\\d\"}]}"},{"role":"user","content":"Широкая электрификация южных губерний даст мощный толчок подъёму сельского хозяйства"}],"n":{"n":{}},"model":"\ud83d\ude00"}"#,
    r#" { } "#,
];
