//! What is told of many routers.

use super::*;

#[test]
fn telling_of_one_costs_the_same_among_many() {
    let looks = |count: u8| {
        let mut room = Room::new(255, 255);
        let mut ha = started(&mut room, count, 100);
        let before = ha.counters.looks;
        let told = core::iter::from_fn(|| ha.poll_notice());
        assert_eq!(told.count(), usize::from(count));
        assert!(!ha.owes_notices());
        ha.counters.looks - before
    };
    assert_eq!(looks(250), 250 * looks(1));
}

#[test]
fn who_moves_after_it_was_told_of_is_told_of_again() {
    let mut room = Room::new(4, 4);
    let mut ha = started(&mut room, 3, 100);
    let name = |notice: Option<Notice>| notice.map(|notice| notice.standing);
    assert_eq!(name(ha.poll_notice()), Some(Standing::Backup));
    // The first one leaves while the others wait to be told of.
    ha.retire(Instant::ZERO, 0);
    let rest: Vec<_> = core::iter::from_fn(|| name(ha.poll_notice())).collect();
    assert_eq!(rest, [Standing::Stop, Standing::Backup, Standing::Backup]);
}
