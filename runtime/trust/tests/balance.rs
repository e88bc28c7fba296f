//! What proves a balance and what does not, where two differ, and who is served first.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use actum_model::{
    balance::{Entry, Tally},
    run::RunArgs,
    *,
};
use actum_trust::*;
use proptest::prelude::*;
use serde_bytes::ByteArray;
use std::collections::BTreeSet;

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// What one asked and another ran: the `n`th action of the two.
fn entry(provider: u8, requester: u8, n: u8, fuel: u64) -> Entry {
    let action = Action {
        requester: key(requester).did(),
        component: ComponentId::of(b"component"),
        function: "run".parse().unwrap(),
        args: BlobId::of(b"args"),
        limits: Limits::default(),
        permissions: BTreeSet::new(),
        seed: ByteArray::new([1; 32]),
        time_base: 1,
        nonce: ByteArray::new([n; 12]),
        partial: false,
    };
    let claim =
        Claim { author: key(7).did(), name: "words".parse().unwrap(), version: "1.0.0".parse().unwrap() };
    let provider_did = key(provider).did();
    let asked = RunArgs::invocation(&action, &claim, provider_did, provider_did, vec![], 160, 100);
    let asked = Signed::sign(asked, &key(requester));
    let receipt = Receipt {
        iss: provider_did,
        iat: 101,
        action,
        authority: Authority::Public,
        invocation: Some(asked.id()),
        withheld: Default::default(),
        profile: ProfileId::of(b"profile"),
        outcome: Outcome::OutOfFuel,
        fuel,
        memory_bytes: 0,
        journal: Journal::default().id(),
        stdio: None,
    };
    Entry { receipt: Signed::sign(receipt, &key(provider)), invocation: Some(asked) }
}

fn changed(entry: &Entry, change: impl FnOnce(&mut Receipt)) -> Entry {
    let mut receipt = entry.receipt.payload().clone();
    change(&mut receipt);
    Entry { receipt: Signed::sign(receipt, &key(1)), invocation: entry.invocation.clone() }
}

/// The balance of these entries as key 1 has it with key 2.
fn balance_of(entries: &[Entry]) -> Balance {
    let (mut served, mut consumed) = (Tally::default(), Tally::default());
    for entry in entries {
        let receipt = entry.receipt.payload();
        let tally = if receipt.iss == key(1).did() { &mut served } else { &mut consumed };
        tally.add(&entry.receipt.id(), receipt.fuel);
    }
    let (iss, peer) = (key(1).did(), key(2).did());
    Balance { iss, peer, iat: 200, seq: 1, served: served.side(), consumed: consumed.side() }
}

/// The same as the other has it.
fn turned(balance: &Balance) -> Balance {
    let Balance { iss, peer, iat, seq, served, consumed } = balance.clone();
    Balance { iss: peer, peer: iss, iat, seq, served: consumed, consumed: served }
}

fn ids(entries: &[Entry]) -> Ids {
    let by = |n: u8| {
        let of = entries.iter().filter(|e| e.receipt.payload().iss == key(n).did());
        of.map(|e| e.receipt.id()).collect()
    };
    Ids { served: by(1), consumed: by(2) }
}

fn turned_ids(ids: Ids) -> Ids {
    Ids { served: ids.consumed, consumed: ids.served }
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec((any::<bool>(), 0_u64..1 << 40), 1..10).prop_map(|list| {
        let one = |(n, (ours, fuel)): (usize, (bool, u64))| {
            let (provider, requester) = if ours { (1, 2) } else { (2, 1) };
            entry(provider, requester, u8::try_from(n).unwrap(), fuel)
        };
        list.into_iter().enumerate().map(one).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_balance_is_proven_by_its_entries_in_any_order_and_by_no_others(
        entries in entries(),
        turn in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let balance = balance_of(&entries);
        let mut order: Vec<(u64, &Entry)> =
            (1_u64..).zip(&entries).map(|(n, e)| (n.wrapping_mul(seed | 1), e)).collect();
        order.sort_by_key(|(n, _)| *n);
        prop_assert!(prove(&balance, order.iter().map(|(_, e)| *e)).is_ok());
        prop_assert!(prove(&turned(&balance), &entries).is_ok(), "both sides prove it by the same receipts");

        // One less, one more, one twice, one other: none of these is the same balance.
        let at = turn.index(entries.len());
        let mut less = entries.clone();
        let left_out = less.remove(at);
        let refused = prove(&balance, &less);
        prop_assert!(matches!(refused, Err(BalanceError::Sum { .. })), "{refused:?}");
        let mut more = entries.clone();
        more.push(entry(1, 2, 200, 0));
        let refused = prove(&balance, &more);
        prop_assert!(matches!(refused, Err(BalanceError::Sum { .. })), "{refused:?}");
        let mut twice = entries.clone();
        twice.push(left_out.clone());
        let refused = prove(&balance, &twice);
        prop_assert!(matches!(refused, Err(BalanceError::Twice { .. })), "{refused:?}");
        let mut other = less;
        let said = left_out.receipt.payload();
        let (provider, requester) = if said.iss == key(1).did() { (1, 2) } else { (2, 1) };
        other.push(entry(provider, requester, 201, said.fuel));
        let refused = prove(&balance, &other);
        prop_assert!(matches!(refused, Err(BalanceError::Sum { .. })), "the same sums, another set");
    }

    #[test]
    fn what_only_one_side_counts_is_found(entries in entries(), cut in any::<prop::sample::Index>()) {
        let at = cut.index(entries.len());
        let mut theirs = entries.clone();
        let dropped = theirs.remove(at);
        let (ours, other) = (balance_of(&entries), turned(&balance_of(&theirs)));
        prop_assert!(!agree(&ours, &other));
        prop_assert!(agree(&ours, &turned(&ours)));
        let found = compare(&ours, &other, &ids(&entries), &turned_ids(ids(&theirs))).unwrap();
        let id = dropped.receipt.id();
        let (here, there) = match dropped.receipt.payload().iss == key(1).did() {
            true => (&found.served, &found.consumed),
            false => (&found.consumed, &found.served),
        };
        prop_assert_eq!(&here.only_ours, &vec![id]);
        prop_assert!(here.only_theirs.is_empty() && there.is_nothing());
        let back = compare(&other, &ours, &turned_ids(ids(&theirs)), &ids(&entries)).unwrap();
        prop_assert!(back.served.only_theirs.contains(&id) || back.consumed.only_theirs.contains(&id));
        // Whoever lists other receipts than it has signed for is told so.
        let refused = compare(&ours, &other, &ids(&entries), &turned_ids(ids(&entries)));
        prop_assert_eq!(refused, Err(CompareError::OtherList { who: key(2).did() }));
        prop_assert!(compare(&ours, &turned(&ours), &ids(&entries), &turned_ids(ids(&entries))).unwrap().is_nothing());
    }
}

#[test]
fn nobody_makes_an_entry_alone() {
    let good = entry(1, 2, 1, 500);
    // The provider says it was asked: by nobody, for something else, by another, of another provider.
    let alone = Entry { invocation: None, ..good.clone() };
    let refused = |entry: &Entry| prove(&balance_of(std::slice::from_ref(entry)), [entry]).unwrap_err();
    assert!(matches!(refused(&alone), BalanceError::NoRequest { .. }));
    let more = changed(&good, |r| r.action.limits.fuel += 1);
    assert!(matches!(refused(&more), BalanceError::NotAsked { .. }));
    let own = entry(1, 1, 1, 500);
    let other = changed(&own, |r| r.action.requester = key(2).did());
    assert!(matches!(refused(&other), BalanceError::NotAsked { .. }));
    let elsewhere = entry(3, 2, 1, 500);
    let claimed = changed(&elsewhere, |r| r.iss = key(1).did());
    assert!(matches!(refused(&claimed), BalanceError::NotAsked { .. }));
    // What is between others, or one's own, is no entry of the two.
    for stranger in [entry(3, 2, 1, 5), entry(1, 3, 1, 5), own] {
        let refused = prove(&balance_of(&[]), [&stranger]).unwrap_err();
        assert!(matches!(refused, BalanceError::Stranger { .. }), "{refused}");
    }
}

#[test]
fn what_was_asked_once_is_owed_once() {
    let good = entry(1, 2, 1, 500);
    let again = changed(&good, |r| r.iat += 1);
    let both = [good, again];
    let refused = prove(&balance_of(&both), &both).unwrap_err();
    assert!(matches!(refused, BalanceError::AnsweredTwice { .. }), "{refused}");
}

#[test]
fn a_sum_that_is_not_the_receipts_names_its_side() {
    let both = [entry(1, 2, 1, 500), entry(2, 1, 2, 700)];
    let balance = balance_of(&both);
    prove(&balance, &both).unwrap();
    let mut more = balance.clone();
    more.served.fuel += 1;
    let refused = prove(&more, &both).unwrap_err().to_string();
    assert!(refused.starts_with("served: ") && refused.contains("501 fuel"), "{refused}");
    let mut less = balance;
    less.consumed.fuel -= 1;
    let refused = prove(&less, &both).unwrap_err().to_string();
    assert!(refused.starts_with("consumed: "), "{refused}");
    // The same receipts, and one peer says that their fuel is other.
    let theirs = turned(&less);
    let found = compare(&balance_of(&both), &theirs, &ids(&both), &turned_ids(ids(&both))).unwrap();
    assert!(found.consumed.other_fuel && found.served.is_nothing());
}

#[test]
fn replay_settles_what_is_disputed() {
    let receipt = entry(1, 2, 1, 500).receipt;
    let verdict = |judgement| Verdict {
        iss: key(9).did(),
        iat: 1,
        receipt: receipt.id(),
        provider: key(1).did(),
        profile: ProfileId::of(b"profile"),
        judgement,
    };
    let side = || "x".to_owned();
    let diverged = Judgement::Diverged(Divergence { at: side(), receipt: side(), replay: side() });
    assert_eq!(settle(&receipt.id(), &verdict(Judgement::Identical)), Settled::Counts);
    assert_eq!(settle(&receipt.id(), &verdict(diverged.clone())), Settled::Void);
    assert_eq!(settle(&receipt.id(), &verdict(Judgement::NotReplayable(side()))), Settled::Disputed);
    let other = entry(1, 2, 2, 500).receipt.id();
    assert_eq!(settle(&other, &verdict(diverged)), Settled::Disputed, "a verdict on another receipt");
}

#[test]
fn who_gives_goes_first_and_who_only_takes_last() {
    let giving = Giving { allowance_fuel: 1_000, ..Giving::default() };
    let now = 50 * HOUR_SECONDS;
    let place = |gave, took, lately: &[Hour], asked| {
        let account = Account { served_fuel: took, consumed_fuel: gave };
        priority(&account, lately, asked, now, &giving)
    };
    let used = |fuel| [Hour { hour: 49, fuel }];
    assert_eq!(place(1, 0, &[], u64::MAX), Priority::Giver(0));
    assert_eq!(place(400, 100, &[], 0), Priority::Giver(0));
    assert_eq!(place(399, 100, &[], 0), Priority::Giver(1));
    assert_eq!(place(199, 100, &[], 0), Priority::Giver(2));
    assert_eq!(place(99, 100, &[], 0), Priority::Giver(3));
    assert_eq!(place(50, 100, &[], 0), Priority::Giver(3));
    assert_eq!(place(49, 100, &[], 0), Priority::Newcomer);
    assert_eq!(place(0, 0, &[], 1_000), Priority::Newcomer);
    assert_eq!(place(0, 0, &[], 1_001), Priority::Debtor, "more at once than the allowance");
    assert_eq!(place(0, 600, &used(600), 400), Priority::Newcomer);
    assert_eq!(place(0, 600, &used(600), 401), Priority::Debtor);
    assert_eq!(place(u64::MAX, u64::MAX, &used(u64::MAX), u64::MAX), Priority::Giver(2));
    assert!(Priority::Owner < Priority::Giver(0) && Priority::Giver(0) < Priority::Giver(3));
    assert!(Priority::Giver(3) < Priority::Newcomer && Priority::Newcomer < Priority::Debtor);
}

#[test]
fn an_allowance_comes_back_hour_by_hour() {
    let giving = Giving { allowance_fuel: 1_000, ..Giving::default() };
    let lately = [Hour { hour: 10, fuel: 600 }, Hour { hour: 11, fuel: 300 }];
    let at = |hour: u64| hour * HOUR_SECONDS;
    assert_eq!(allowance_left(&lately, at(12), &giving), 100);
    // The hour from 10 to 11 counts until a day after its end.
    assert_eq!(allowance_left(&lately, at(35) - 1, &giving), 100);
    assert_eq!(allowance_left(&lately, at(35), &giving), 700);
    assert_eq!(allowance_left(&lately, at(36), &giving), 1_000);
    assert_eq!(allowance_back(&lately, 100, at(12), &giving), Some(0));
    assert_eq!(allowance_back(&lately, 101, at(12), &giving), Some(23 * HOUR_SECONDS));
    assert_eq!(allowance_back(&lately, 701, at(12), &giving), Some(24 * HOUR_SECONDS));
    assert_eq!(allowance_back(&lately, 1_001, at(12), &giving), None);
}
