//! Permissions as people write them: each text means one permission, and is what that permission is written as.

use actum_model::{
    ComponentId, Granted,
    permission::{Delegate, MAX_KEYS_BYTES, check_granted},
};

fn delegate(depth: u32, fuel: u64) -> Granted {
    let component = ComponentId::of(b"words");
    Granted::Delegate(Delegate { target: "words".to_owned(), component, depth, fuel })
}

#[test]
fn a_call_is_written_with_the_bounds_that_are_not_the_default() {
    let component = ComponentId::of(b"words");
    for (granted, bounds) in [
        (delegate(Delegate::DEPTH, Delegate::FUEL), ""),
        (delegate(3, Delegate::FUEL), ",depth=3"),
        (delegate(Delegate::DEPTH, 1_000), ",fuel=1000"),
        (delegate(2, 1_000), ",depth=2,fuel=1000"),
    ] {
        let text = format!("delegate:words={component}{bounds}");
        assert_eq!(granted.to_string(), text);
        assert_eq!(text.parse(), Ok(granted));
    }
}

#[test]
fn bounds_of_a_call_that_are_none_are_refused() {
    let component = ComponentId::of(b"words");
    for bounds in [
        ",",
        ",depth",
        ",depth=",
        ",depth=-1",
        ",depth=0",
        ",depth=9",
        ",depth=1,depth=1",
        ",width=1",
        ",fuel=x",
    ] {
        let text = format!("delegate:words={component}{bounds}");
        assert!(text.parse::<Granted>().is_err(), "{text}");
    }
}

#[test]
fn a_call_is_within_one_that_goes_as_deep_and_burns_as_much() {
    assert!(delegate(1, 5).within(&delegate(2, 5)));
    assert!(!delegate(2, 5).within(&delegate(1, 5)));
    assert!(!delegate(1, 6).within(&delegate(1, 5)));
}

#[test]
fn every_other_text_is_what_its_permission_is_written_as() {
    for text in [
        "network",
        "http:GET,HEAD:https://example.com",
        "http:POST:http://localhost:8080",
        "keyvalue:notes",
        "keyvalue:notes:read",
        "keyvalue:notes:keys=inbox/",
        "keyvalue:notes:read:keys=inbox/",
        "keyvalue:notes:keys=read:keys=ü, =",
        "config:key=value=with:marks",
    ] {
        assert_eq!(text.parse::<Granted>().unwrap().to_string(), text);
    }
}

fn granted(text: &str) -> Granted {
    text.parse().unwrap()
}

#[test]
fn a_bucket_is_within_one_whose_keys_begin_no_further_on() {
    for (narrow, wide) in [
        ("keyvalue:notes:keys=inbox/", "keyvalue:notes"),
        ("keyvalue:notes:keys=inbox/", "keyvalue:notes:keys=inbox/"),
        ("keyvalue:notes:keys=inbox/a", "keyvalue:notes:keys=inbox/"),
        ("keyvalue:notes:read:keys=inbox/a", "keyvalue:notes:keys=i"),
    ] {
        assert!(granted(narrow).within(&granted(wide)), "{narrow} within {wide}");
    }
    for (wide, narrow) in [
        ("keyvalue:notes", "keyvalue:notes:keys=inbox/"),
        ("keyvalue:notes:keys=inbox/", "keyvalue:notes:keys=inbox/a"),
        ("keyvalue:notes:keys=outbox/", "keyvalue:notes:keys=inbox/"),
        ("keyvalue:notes:keys=inbox/", "keyvalue:notes:read:keys=inbox/"),
        ("keyvalue:other:keys=inbox/", "keyvalue:notes:keys=inbox/"),
    ] {
        assert!(!granted(wide).within(&granted(narrow)), "{wide} not within {narrow}");
    }
}

#[test]
fn prefixes_of_keys_that_are_none_are_refused() {
    let long = format!("keyvalue:notes:keys={}", "k".repeat(MAX_KEYS_BYTES));
    assert_eq!(granted(&long).to_string(), long);
    for text in [
        "keyvalue:notes:",
        "keyvalue:notes:write",
        "keyvalue:notes:keys=",
        "keyvalue:notes:keys",
        "keyvalue:notes:read:",
        "keyvalue:notes:read:read",
        "keyvalue:notes:keys=a\nb",
        "keyvalue::keys=a",
        &format!("{long}k"),
    ] {
        assert!(text.parse::<Granted>().is_err(), "{text}");
    }
}

#[test]
fn a_bucket_granted_twice_is_refused_whatever_its_keys() {
    let twice = ["keyvalue:notes:keys=a", "keyvalue:notes:read:keys=b"].map(granted);
    assert!(check_granted(&twice.into()).unwrap_err().contains("granted twice"));
}
