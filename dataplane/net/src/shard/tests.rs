use std::cell::{Cell, RefCell};
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, ThreadId};

use futures_lite::future::or;

use super::*;
use crate::mailbox::mailbox;

/// Each executor, on any core.
fn each() -> impl Iterator<Item = Placement> {
    Executor::ALL.into_iter().map(Executor::anywhere)
}

#[test]
fn a_shard_runs_sleeps_and_is_joined() {
    for executor in Executor::ALL {
        let shard = start("test", executor.on(0), || async {
            let before = clock::boottime();
            sleep_until(before + 3_000_000).await;
            clock::boottime() - before
        });
        let passed = shard.unwrap().join().unwrap();
        assert!(passed >= 3_000_000, "{executor}: {passed}");
    }
}

/// One that never waits, and one that only lets others run, must keep neither each other nor the kernel from its turn.
#[test]
fn busy_tasks_leave_others_their_turn() {
    for placement in each() {
        let shard = start("test", placement, || async {
            let start = clock::boottime();
            let passed = move || clock::boottime() - start;
            let (over, turns) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
            let [first, second] = [Rc::clone(&over), Rc::clone(&over)];
            let counted = Rc::clone(&turns);
            spawn(async move {
                while !first.get() && passed() < 1_000_000_000 {
                    yield_if_needed().await;
                }
            });
            spawn(async move {
                while !second.get() && passed() < 1_000_000_000 {
                    counted.set(counted.get() + 1);
                    yield_now().await;
                }
            });
            sleep(Duration::from_millis(5)).await;
            over.set(true);
            (passed(), turns.get())
        });
        // With glommio's own preemption timer it is about 200 ms.
        let (passed, turns) = shard.unwrap().join().unwrap();
        assert!(passed < 90_000_000, "{placement:?}: {passed} ns");
        assert!(turns >= 2, "{placement:?}: {turns} turns");
    }
}

#[test]
fn sleepers_wake_in_the_order_of_their_times_and_one_that_gave_up_is_forgotten() {
    for placement in each() {
        let shard = start("test", placement, || async {
            let order = Rc::new(RefCell::new(Vec::new()));
            for ms in [90, 30, 60] {
                let order = Rc::clone(&order);
                spawn(async move {
                    sleep(Duration::from_millis(ms)).await;
                    order.borrow_mut().push(ms);
                });
            }
            or(
                sleep(Duration::from_secs(3600)),
                sleep(Duration::from_millis(1)),
            )
            .await;
            sleep(Duration::from_millis(300)).await;
            order.take()
        });
        assert_eq!(
            shard.unwrap().join().unwrap(),
            [30, 60, 90],
            "{placement:?}"
        );
    }
}

/// What a task holds is dropped on the shard's thread when its main task ends, also what waits for other threads. (glommio
/// forgets tasks that have not ended.)
#[test]
fn tasks_end_with_main() {
    struct Dropped(Sender<ThreadId>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }
    let (told, tells) = channel();
    let (_never, mut waited) = mailbox::<()>(1);
    let placement = Executor::Epoll.anywhere();
    let shard = start("test", placement, move || async move {
        let held = Dropped(told.clone());
        spawn(async move {
            let _held = held;
            waited.recv().await;
        });
        let held = Dropped(told);
        spawn(async move {
            let _held = held;
            sleep(Duration::from_secs(3600)).await;
        });
        sleep(Duration::from_millis(2)).await;
        thread::current().id()
    });
    let thread = shard.unwrap().join().unwrap();
    let dropped: Vec<_> = tells.try_iter().collect();
    assert_eq!(dropped, [thread, thread]);
}

#[test]
fn a_core_that_does_not_exist_is_a_clear_error() {
    // Beyond what there is, and beyond what the kernel can name.
    for (executor, core) in Executor::ALL
        .into_iter()
        .flat_map(|it| [(it, 1000), (it, 4095)])
    {
        let error = start("test", executor.on(core), || async {}).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains(&format!("core {core}")) && error.contains("lscpu"),
            "{executor}: {error}"
        );
    }
}

#[test]
fn a_panic_is_seen_by_who_joins() {
    for placement in each() {
        let shard = start("test", placement, || async { panic!("main on purpose") });
        let error = shard.unwrap().join().unwrap_err().to_string();
        assert!(error.contains("main on purpose"), "{error}");
    }
}

#[test]
fn a_panic_of_a_spawned_task_ends_the_shard() {
    for placement in each() {
        let shard = start("test", placement, || async {
            spawn(async { panic!("task on purpose") });
            sleep(Duration::from_secs(5)).await;
        });
        let error = shard.unwrap().join().unwrap_err().to_string();
        assert!(error.contains("task on purpose"), "{error}");
    }
}

/// io_uring locks memory, and says what it lacks; epoll needs none.
#[test]
fn too_little_lockable_memory_is_a_clear_error() {
    const INSIDE: &str = "SEALCAST_TEST_LITTLE_MEMLOCK";
    if std::env::var_os(INSIDE).is_some() {
        let [epoll, ring] =
            Executor::ALL.map(|executor| start("test", executor.anywhere(), || async {}));
        let error = ring.unwrap_err().to_string();
        assert!(error.contains("ulimit -l"), "{error}");
        epoll.unwrap().join().unwrap();
        return;
    }
    // The limit is the process's: this test runs itself once more under a lower one.
    let output = Command::new("sh")
        .args(["-c", "ulimit -l 64 && exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg("shard::tests::too_little_lockable_memory_is_a_clear_error")
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
