//! What the kernel does not take.

use super::kernel::{Kernel, planned, run_with, turn_with};
use super::*;
use crate::time::Duration;

fn vip(last: u8) -> IpAddr {
    IpAddr::from([198, 51, 100, last])
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_address_that_is_refused_keeps_no_other_waiting_and_hides_nothing() {
    let mut kernel = Kernel::new();
    kernel.refuses.push(vip(1));
    let mut room = Room::new(2, 4);
    let routers: [&[IpAddr]; 2] = [&[vip(1), vip(2)], &[vip(3)]];
    let mut ha = planned(&mut room, &mut kernel, 255, &routers);
    let mut now = Instant::ZERO;
    for _ in 0..2 {
        turn_with(&mut ha, &mut kernel, now);
    }
    assert!(kernel.holds(vip(2)) && kernel.holds(vip(3)));
    assert!(ha.is_known(), "all is known that is there");
    let announced = ha.counters().announcements;
    assert!(announced >= 2, "its sister waits for nothing: {announced}");
    // At once, then 1, 2, 4, 8 and 16 s later, then every 30.
    run_with(&mut ha, &mut kernel, now, now + SECOND * 100);
    let adds = kernel.adds(vip(1));
    assert!((8..=10).contains(&adds), "{adds} times in 100 s");
    assert_eq!(kernel.adds(vip(2)), 1);
    assert_eq!((kernel.dumps, ha.route_counters().resyncs), (1, 0));
    // Whatever else happens is seen, and done, at once.
    now += SECOND * 100;
    kernel.set_running(&mut ha, now, false);
    turn_with(&mut ha, &mut kernel, now);
    assert!(!kernel.holds(vip(2)) && !kernel.holds(vip(3)));
    // The router is another than the one that was refused.
    let before = kernel.adds(vip(1));
    kernel.set_running(&mut ha, now, true);
    turn_with(&mut ha, &mut kernel, now);
    assert!(kernel.adds(vip(1)) > before && kernel.holds(vip(3)));
    kernel.refuses.clear();
    run_with(&mut ha, &mut kernel, now, now + SECOND * 2);
    assert!(kernel.holds(vip(1)));
}
