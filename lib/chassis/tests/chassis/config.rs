//! How settings are read, and how mistakes are told.

use std::time::Duration;

use headwater_chassis::{Common, ConfigErrors, Invocation, LogFormat, Secret, Settings};

/// Reads with `read`; the result is the value or all mistakes.
fn read<T>(
    vars: &[(&str, &str)],
    args: &[&str],
    read: impl Fn(&mut Settings) -> Option<T>,
) -> Result<T, ConfigErrors> {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let args = args.iter().map(|arg| (*arg).to_owned());
    Invocation::from_parts("program", vars, args).read("Does something", read)
}

/// Reads with `read`; the expected is the value or the mistakes.
fn check<T: PartialEq + std::fmt::Debug>(
    vars: &[(&str, &str)],
    args: &[&str],
    reader: impl Fn(&mut Settings) -> Option<T>,
    expected: Result<T, &[&str]>,
) {
    match (read(vars, args, reader), expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected),
        (Err(found), Err(expected)) => assert_eq!(found.mistakes(), expected),
        (found, expected) => panic!("{found:?} instead of {expected:?}"),
    }
}

const SIZE: &str = "HEADWATER_BATCH_MAX";

#[test]
fn a_value_comes_from_flag_variable_or_default_in_this_order() {
    let read = |s: &mut Settings| s.get::<u16>(SIZE, Some("1"), "a size");
    check(&[], &[], read, Ok(1));
    check(&[(SIZE, "2")], &[], read, Ok(2));
    check(&[(SIZE, "2")], &["--batch-max", "3"], read, Ok(3));
    check(&[(SIZE, "2")], &["--batch-max=4"], read, Ok(4));
    check(&[(SIZE, "")], &[], read, Ok(1));
    check(&[(SIZE, "2")], &["--batch-max="], read, Ok(1));
    check(&[(SIZE, " 5 ")], &[], read, Ok(5));
    check(&[("OTHER_BATCH_MAX", "2"), ("HEADWATER_UNKNOWN", "2")], &[], read, Ok(1));
}

#[test]
fn every_kind_of_mistake() {
    let number = |s: &mut Settings| s.get::<u16>(SIZE, None, "a size");
    let required = "HEADWATER_BATCH_MAX (--batch-max): is required";
    check(&[], &[], number, Err(&[required]));
    let malformed =
        r#"HEADWATER_BATCH_MAX (--batch-max): "x" is not valid: invalid digit found in string"#;
    check(&[(SIZE, "x")], &[], number, Err(&[malformed]));
    check(&[], &["--batch-max"], number, Err(&["--batch-max needs a value", required]));
    let twice = ["--batch-max", "1", "--batch-max", "2"];
    check(&[], &twice, number, Err(&["--batch-max is given twice"]));
    let unknown = ["--batch-max", "1", "--city", "2"];
    check(&[], &unknown, number, Err(&["--city is not a flag of this program"]));
    let loose = r#""up" is not a flag: only --name VALUE is understood"#;
    check(&[(SIZE, "1")], &["up"], number, Err(&[loose]));
    check(&[], &["up", "--batch-max", "1"], number, Err(&[loose]));
    check(&[], &["--batch-max", "1", "--", "up"], number, Err(&[loose]));
    let swallowed = ["--batch-max", "--other", "2"];
    let found = ["--other is not a flag of this program", "--batch-max needs a value", required];
    check(&[], &swallowed, number, Err(&found));
}

#[test]
fn every_mistake_on_the_command_line_is_told() {
    let number = |s: &mut Settings| s.get::<u16>(SIZE, None, "a size");
    let args = [
        "--bach-max",
        "7",
        "-x",
        "--town=Oslo",
        "--print-config=yes",
        "--batch-max",
        "up",
        "-5",
        "--batch-max",
    ];
    let expected = [
        "--bach-max is not a flag of this program; --batch-max is",
        "-x is not a flag of this program",
        "--town is not a flag of this program",
        "--print-config: unexpected value for an argument found",
        "-5 is not a flag of this program",
        "--batch-max needs a value",
        r#"HEADWATER_BATCH_MAX (--batch-max): "up" is not valid: invalid digit found in string"#,
    ];
    check(&[], &args, number, Err(&expected));
}

#[test]
fn negative_numbers_are_values() {
    let read = |s: &mut Settings| s.in_range::<i16>("HEADWATER_SHIFT", "0", -9..=9, "a shift");
    check(&[], &["--shift", "-5"], read, Ok(-5));
    check(&[], &["--shift=-6"], read, Ok(-6));
}

#[test]
fn ranges() {
    let read = |s: &mut Settings| s.in_range::<u16>(SIZE, "10", 1..=100, "a size");
    let outside = "HEADWATER_BATCH_MAX (--batch-max): must be from 1 to 100, not 101";
    check(&[], &[], read, Ok(10));
    check(&[(SIZE, "100")], &[], read, Ok(100));
    check(&[(SIZE, "101")], &[], read, Err(&[outside]));

    let read = |s: &mut Settings| s.millis("HEADWATER_POLL_MS", "100", 1..=1000, "a pause");
    check(&[], &[], read, Ok(Duration::from_millis(100)));

    let read = |s: &mut Settings| s.in_range::<f64>("HEADWATER_RATIO", "0", 0.0..=1.0, "a share");
    check(&[("HEADWATER_RATIO", "0.5")], &[], read, Ok(0.5));
    let nan = "HEADWATER_RATIO (--ratio): must be from 0 to 1, not NaN";
    check(&[("HEADWATER_RATIO", "NaN")], &[], read, Err(&[nan]));
}

#[test]
fn lists_and_optional_values() {
    let list = |s: &mut Settings| s.list::<u16>("HEADWATER_PORTS", Some("1"), "ports");
    check(&[], &[], list, Ok(vec![1]));
    check(&[("HEADWATER_PORTS", "1, 2,3,")], &[], list, Ok(vec![1, 2, 3]));
    let none = "HEADWATER_PORTS (--ports): needs at least one value";
    check(&[("HEADWATER_PORTS", ",")], &[], list, Err(&[none]));

    let optional = |s: &mut Settings| s.optional::<u16>("HEADWATER_PORT", "a port");
    check(&[], &[], optional, Ok(None));
    check(&[("HEADWATER_PORT", "")], &[], optional, Ok(None));
    check(&[("HEADWATER_PORT", "7")], &[], optional, Ok(Some(7)));
}

fn common(s: &mut Settings) -> Option<Common> {
    Common::read(s, "127.0.0.1:1", "127.0.0.1:2")
}

#[test]
fn all_mistakes_are_told_together() {
    let vars = [
        ("HEADWATER_LISTEN", "here"),
        ("HEADWATER_LOG", "a=b=c"),
        ("HEADWATER_LOG_FORMAT", "xml"),
        ("HEADWATER_OTLP_ENDPOINT", "https://collector:4317"),
        ("HEADWATER_TRACE_RATIO", "2"),
        ("HEADWATER_SHUTDOWN_MS", "1"),
    ];
    let errors = read(&vars, &[], common).unwrap_err();
    assert_eq!(errors.mistakes().len(), 6, "{errors}");
    let text = errors.to_string();
    assert!(text.starts_with("program: 6 mistakes in the configuration\n  HEADWATER_LISTEN"));
    assert!(text.ends_with("program --help lists every setting"));
}

#[test]
fn the_common_part_has_defaults() {
    let common = read(&[], &["--log-format", "json"], common).unwrap();
    assert_eq!(common.listen, "127.0.0.1:1".parse().unwrap());
    assert_eq!(common.admin_listen, "127.0.0.1:2".parse().unwrap());
    assert_eq!(common.log, "info");
    assert_eq!(common.log_format, LogFormat::Json);
    assert_eq!(common.otlp_endpoint, None);
    assert_eq!(common.shutdown, Duration::from_secs(10));
}

#[test]
fn a_secret_is_shown_by_nothing_but_expose() {
    let url = "postgres://app:hunter2@db/app";
    let vars = [("HEADWATER_WRITE_URL", url), ("HEADWATER_READ_URLS", "a:hunter2, b:hunter2,")];
    let secrets = |s: &mut Settings| {
        let one = s.secret("HEADWATER_WRITE_URL", None, "a database");
        let many = s.secrets("HEADWATER_READ_URLS", None, "databases");
        Some((one?, many?))
    };
    let (one, many) = read(&vars, &[], secrets).unwrap();
    assert_eq!(one.expose(), url);
    assert_eq!(format!("{one} {one:?} {:?}", Some(&one)), "*** *** Some(***)");
    assert_eq!(many.iter().map(Secret::expose).collect::<Vec<_>>(), ["a:hunter2", "b:hunter2"]);

    // Flags that are mistyped, given twice or not quoted.
    let flag = format!("--write-ulr={url}");
    let args = [
        &*flag,
        "--read-ulrs",
        url,
        "--write-url",
        url,
        "--write-url",
        url,
        "password=hunter2",
        "--help=hunter2",
        url,
    ];
    let errors = read(&vars, &args, secrets).unwrap_err();
    assert_eq!(errors.mistakes().len(), 6, "{errors}");
    assert!(!format!("{errors} {errors:?}").contains("hunter2"), "{errors}");
}

#[test]
#[should_panic(expected = "names of settings start with HEADWATER_")]
fn a_name_without_the_prefix_is_our_defect() {
    let _ = read(&[], &[], |s| s.get::<u16>("BATCH_MAX", Some("1"), "a size"));
}
