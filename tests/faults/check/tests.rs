//! Histories made by hand: the good ones pass, and each bad one is found.

use std::collections::BTreeMap;

use backoffice_auth::domain::Timestamp;
use chrono::TimeDelta;

use super::*;
use crate::history::{Delivered, Look};
use crate::metronome::Stolen;

const LAG: Duration = Duration::from_secs(1);
const LIMIT: Limit = Limit {
    attempts: 2,
    window: Duration::from_secs(10),
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A request to the first instance.
fn request(started: u64, ended: u64, asked: Asked, outcome: Outcome) -> Request {
    Request {
        instance: 0,
        started: ms(started),
        ended: ms(ended),
        asked,
        outcome,
    }
}

fn at_second_instance(request: Request) -> Request {
    Request {
        instance: 1,
        ..request
    }
}

fn status(status: u16) -> Outcome {
    let gained = Gained::Nothing;
    Outcome::Answered { status, gained }
}

fn pair(generation: i64, digest: &str) -> Outcome {
    Outcome::Answered {
        status: 200,
        gained: Gained::Pair {
            session: "s".to_owned(),
            generation,
            digest: digest.to_owned(),
        },
    }
}

fn signin(is_right: bool) -> Asked {
    let key = "alice 198.18.0.1".to_owned();
    Asked::Signin { key, is_right }
}

fn confirm(is_right: bool) -> Asked {
    Asked::Confirm {
        challenge: "c".to_owned(),
        user: "alice".to_owned(),
        is_right,
        over_at: ms(5_000),
    }
}

fn refresh(generation: i64) -> Asked {
    let session = "s".to_owned();
    Asked::Refresh {
        session,
        generation,
    }
}

fn check() -> Asked {
    let session = "s".to_owned();
    Asked::Check { session }
}

fn signout() -> Asked {
    let session = "s".to_owned();
    Asked::Signout { session }
}

#[test]
fn tabs_that_share_an_answer_are_fine_and_two_successors_are_not() {
    let mut history = vec![
        request(0, 5, signin(true), pair(0, "zero")),
        request(10, 30, refresh(0), pair(1, "one")),
        at_second_instance(request(11, 29, refresh(0), pair(1, "one"))),
        request(40, 50, refresh(1), Outcome::Lost),
        request(60, 70, refresh(1), pair(2, "two")),
    ];
    assert!(one_successor_a_generation(&history).is_empty());
    history.push(at_second_instance(request(
        61,
        69,
        refresh(1),
        pair(2, "other"),
    )));
    history.push(request(80, 90, refresh(1), pair(3, "three")));
    assert_eq!(one_successor_a_generation(&history).len(), 2);
}

#[test]
fn a_request_that_began_before_the_signout_was_answered_may_succeed() {
    let before = [
        request(0, 60, refresh(0), pair(1, "one")),
        request(0, 60, check(), status(200)),
        request(10, 50, signout(), status(200)),
        at_second_instance(request(900, 910, check(), status(200))),
        request(60, 70, refresh(1), status(401)),
    ];
    assert!(nothing_after_a_signout(&before, LAG).is_empty());
    let unsure = [
        request(10, 50, signout(), status(503)),
        request(60, 70, refresh(1), pair(2, "two")),
    ];
    assert!(nothing_after_a_signout(&unsure, LAG).is_empty());
}

#[test]
fn any_success_after_an_answered_signout_is_found() {
    let signed_out = request(10, 50, signout(), status(200));
    for late in [
        request(51, 60, check(), status(200)),
        at_second_instance(request(1_051, 1_060, check(), status(200))),
        at_second_instance(request(51, 60, refresh(0), pair(1, "one"))),
        at_second_instance(request(51, 60, signout(), status(200))),
    ] {
        // A second sign-out that succeeds is judged against the last one, so the first comes again.
        let history = [signed_out.clone(), late];
        let found = nothing_after_a_signout(&history, LAG).len()
            + usize::from(history.iter().filter(|r| r.asked == signout()).count() > 1);
        assert_eq!(found, 1, "{history:?}");
    }
}

#[test]
fn a_code_that_opens_two_sessions_or_opens_one_late_is_found() {
    let once = request(0, 10, confirm(true), pair(0, "a"));
    assert!(no_code_twice(std::slice::from_ref(&once)).is_empty());
    let again = request(20, 30, confirm(true), pair(0, "b"));
    assert_eq!(no_code_twice(&[once, again]).len(), 1);
    let late = request(6_001, 6_010, confirm(true), pair(0, "a"));
    assert_eq!(no_code_twice(&[late]).len(), 1);
}

#[test]
fn only_what_surely_lies_in_one_window_counts_against_a_limit() {
    let holds = |history: &[Request]| limits_hold(history, LIMIT, LIMIT, LIMIT).is_empty();
    let wrong = |from, to| request(from, to, signin(false), status(401));
    let mut history = vec![
        wrong(0, 10),
        request(20, 30, signin(true), status(200)),
        request(40, 50, signin(false), status(429)),
        request(60, 70, signin(false), status(503)),
        request(60, 70, signin(false), Outcome::Lost),
        // It may have been counted when the first had left the window.
        wrong(80, 10_020),
    ];
    assert!(holds(&history));
    history.push(wrong(5_000, 5_010));
    assert!(!holds(&history));
}

#[test]
fn a_repeated_refresh_costs_no_attempt_and_a_third_rotation_does() {
    let holds = |history: &[Request]| limits_hold(history, LIMIT, LIMIT, LIMIT).is_empty();
    let mut history = vec![
        request(0, 10, refresh(0), pair(1, "one")),
        request(5, 15, refresh(0), pair(1, "one")),
        request(20, 30, refresh(0), pair(1, "one")),
        request(40, 50, refresh(1), pair(2, "two")),
    ];
    assert!(holds(&history));
    history.push(request(60, 70, refresh(2), pair(3, "three")));
    assert!(!holds(&history));
}

#[test]
fn a_fault_is_neither_a_refusal_nor_a_success() {
    let untrue = |request: Request| answers_are_true(&[request], 2).len() == 1;
    for (asked, code) in [
        (signin(true), 401),
        (signin(false), 200),
        (signin(true), 500),
        (signin(true), 429),
        (confirm(true), 401),
        (confirm(false), 200),
        (refresh(0), 401),
        (check(), 401),
        (check(), 429),
        (check(), 422),
        (signout(), 401),
    ] {
        let told = format!("{asked:?} {code}");
        assert!(untrue(request(0, 10, asked, status(code))), "{told}");
    }
    for (asked, code) in [
        (signin(true), 503),
        (signin(true), 200),
        (signin(false), 401),
        (confirm(false), 401),
        (check(), 200),
        (signout(), 200),
    ] {
        let told = format!("{asked:?} {code}");
        assert!(!untrue(request(0, 10, asked, status(code))), "{told}");
    }
}

#[test]
fn an_act_that_may_have_happened_before_excuses_a_refusal() {
    let excused =
        |first: Request, second: Request| answers_are_true(&[first, second], 2).is_empty();
    let unsure = |asked| request(0, 10, asked, Outcome::Lost);
    let refused = |asked| request(20, 30, asked, status(401));
    assert!(excused(unsure(signout()), refused(refresh(0))));
    assert!(excused(unsure(signout()), refused(check())));
    assert!(excused(unsure(signout()), refused(signout())));
    assert!(excused(unsure(confirm(true)), refused(confirm(true))));
    assert!(!excused(unsure(confirm(false)), refused(confirm(true))));
    // Nobody was there to be asked.
    let nobody = request(0, 10, signout(), Outcome::Refused);
    assert!(!excused(nobody, refused(check())));
    // It came too late to be the reason.
    let later = request(40, 50, signout(), status(200));
    assert!(!excused(later, refused(check())));
    let over = request(6_000, 6_001, confirm(true), status(401));
    assert!(answers_are_true(&[over], 2).is_empty());
}

#[test]
fn a_limit_refuses_after_its_attempts_and_not_before() {
    let wrong = |at| request(at, at + 5, signin(false), status(401));
    let refused = request(30, 35, signin(true), status(429));
    assert!(answers_are_true(&[wrong(0), wrong(10), refused.clone()], 2).is_empty());
    assert_eq!(answers_are_true(&[wrong(0), refused], 2).len(), 1);
}

#[test]
fn an_attempt_that_was_answered_503_does_not_count_towards_a_limit() {
    let attempt = |at, code| request(at, at + 5, signin(false), status(code));
    let refused = attempt(15_000, 429);
    let is_right =
        |history: &[Request]| nothing_unanswered_counts(history, LIMIT, ms(5_000)).is_empty();
    let (first, second) = (attempt(5, 401), attempt(10, 401));
    assert!(is_right(&[first.clone(), second.clone(), refused.clone()]));
    let unanswered = attempt(10, 503);
    assert!(!is_right(&[first, unanswered, refused.clone()]));
    let too_long_ago = attempt(0, 401);
    let late = attempt(15_006, 429);
    assert!(!is_right(&[too_long_ago, second, late]));
}

#[test]
fn a_check_that_is_put_off_while_reads_work_is_found() {
    let history = [
        request(0, 10, check(), status(503)),
        request(20, 30, check(), status(503)),
        request(40, 50, check(), status(200)),
        request(40, 50, refresh(0), status(503)),
    ];
    let found = checks_are_answered(&history, ms(15), ms(60), &[]);
    assert_eq!(found.len(), 1);
}

#[test]
fn late_dropped_and_unsettled_requests_are_found() {
    let ours = Stolen::default();
    let slow = request(0, 3_500, check(), status(503));
    let one = std::slice::from_ref(&slow);
    assert_eq!(answers_come_in_time(one, ms(3_000), &ours).len(), 1);
    assert!(answers_come_in_time(one, ms(4_000), &ours).is_empty());
    assert_eq!(nothing_is_unavailable(one, &[]).len(), 1);
    let lost = request(0, 10, check(), Outcome::Lost);
    let refused = request(0, 10, check(), Outcome::Refused);
    assert_eq!(
        nothing_is_dropped(&[lost.clone(), refused.clone()]).len(),
        1
    );
    let fine = request(0, 10, check(), status(401));
    assert_eq!(settled(&[slow, lost, refused, fine], ms(0), &[]).len(), 3);
}

#[test]
fn a_deadline_that_passed_while_others_waited_for_commits_too_is_excused() {
    let slow = [request(1_000, 2_500, refresh(0), status(503))];
    let quick = [request(1_000, 1_900, refresh(0), status(503))];
    let ours = Stolen::default();
    let late = |late| [ours.clone(), Stolen(vec![(ms(2_000), ms(late))])];
    assert!(nothing_is_unavailable(&slow, &late(400)).is_empty());
    assert!(settled(&slow, ms(0), &late(400)).is_empty());
    assert_eq!(nothing_is_unavailable(&slow, &late(120)).len(), 1);
    assert_eq!(nothing_is_unavailable(&quick, &late(400)).len(), 1);
}

fn mail(code: &str, seconds: i64) -> Delivered {
    Delivered {
        fingerprint: "f".to_owned(),
        code: code.to_owned(),
        at: Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds),
    }
}

#[test]
fn a_mail_may_come_twice_but_not_with_two_codes_and_not_late() {
    let ends = BTreeMap::from([("f".to_owned(), mail("", 10).at)]);
    let twice = [mail("123456", 1), mail("123456", 2)];
    assert!(one_code_a_challenge(&twice).is_empty());
    assert!(mails_are_in_time(&twice, &ends).is_empty());
    assert_eq!(
        one_code_a_challenge(&[mail("123456", 1), mail("654321", 2)]).len(),
        1
    );
    assert_eq!(mails_are_in_time(&[mail("123456", 10)], &ends).len(), 1);
    // A mail for a challenge that does not exist was acknowledged by nobody.
    assert_eq!(mails_are_in_time(&twice, &BTreeMap::new()).len(), 2);
}

#[test]
fn readiness_lies_only_if_everything_around_it_says_otherwise() {
    let look = |at, is_ready, serves| Look {
        instance: 0,
        at: ms(at),
        is_ready,
        serves,
    };
    // Late by less than an answer is kept.
    let late = [
        look(0, Some(true), true),
        look(500, Some(true), false),
        look(1_000, Some(false), false),
        look(1_500, None, false),
        look(2_000, Some(false), true),
        look(2_500, Some(true), true),
    ];
    assert!(readiness_is_true(&late, &[]).is_empty());
    let looks =
        |is_ready, serves| -> Vec<_> { (0..9).map(|n| look(n * 500, is_ready, serves)).collect() };
    let lies = |is_ready, serves| !readiness_is_true(&looks(is_ready, serves), &[]).is_empty();
    assert!(lies(Some(true), false));
    assert!(lies(Some(false), true));
    assert!(!lies(None, false) && !lies(Some(true), true) && !lies(Some(false), false));
    // While the database is in trouble, and for as long as an answer is kept, "not ready" is true.
    let lies_at = |is_ready, serves, trouble| {
        let lies = readiness_is_true(&looks(is_ready, serves), &[trouble]);
        lies.len()
    };
    assert_eq!(lies_at(Some(false), true, (ms(0), ms(4_000))), 0);
    assert_eq!(lies_at(Some(false), true, (ms(0), ms(900))), 1);
    assert_eq!(lies_at(Some(true), false, (ms(0), ms(4_000))), 7);
}
