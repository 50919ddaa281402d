use std::collections::BTreeSet;
use std::time::Duration;

use strait_core::LaneId;
use strait_flow::ports::{Membership, MembershipEvent};
use strait_kafka::KafkaMembership;

use crate::common::Rig;

/// Applies a member's next event to the lanes that it holds.
async fn step(member: &mut Box<dyn Membership>, lanes: &mut BTreeSet<LaneId>) {
    match tokio::time::timeout(Duration::from_millis(200), member.next()).await {
        Ok(MembershipEvent::Assigned(new)) => lanes.extend(new),
        Ok(MembershipEvent::Revoked(gone, done)) => {
            for lane in gone {
                assert!(lanes.remove(&lane), "{lane} was not ours");
            }
            done.send(()).unwrap();
        }
        Ok(MembershipEvent::Lost(gone)) => panic!("lost {gone:?}"),
        Ok(MembershipEvent::Trouble(error)) => println!("trouble: {error}"),
        Ok(MembershipEvent::Ended(error)) => panic!("{error}"),
        Ok(MembershipEvent::Member) => {}
        Err(_) => {}
    }
}

pub async fn two_members_share_lanes_and_one_inherits(rig: Rig) {
    rig.topics("group", 4).await;
    let join = || -> Box<dyn Membership> { Box::new(KafkaMembership::join(&rig.cluster, "group", 7).unwrap()) };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let in_time = || assert!(tokio::time::Instant::now() < deadline, "the group did not settle");
    let all: BTreeSet<LaneId> = (0..4).map(LaneId).collect();
    let (mut first, mut first_lanes) = (join(), BTreeSet::new());
    while first_lanes != all {
        step(&mut first, &mut first_lanes).await;
        in_time();
    }
    let (mut second, mut second_lanes) = (join(), BTreeSet::new());
    while first_lanes.len() != 2 || second_lanes.len() != 2 {
        step(&mut first, &mut first_lanes).await;
        step(&mut second, &mut second_lanes).await;
        assert!(first_lanes.is_disjoint(&second_lanes));
        in_time();
    }
    first.leave().await;
    while second_lanes != all {
        step(&mut second, &mut second_lanes).await;
        in_time();
    }
    second.leave().await;
}
