//! What the dataplane needs of the host: pinned shards, UDP in batches, mailboxes between threads, the boot clock, files as
//! memory.
//!
//! What shards wait in (epoll: polling and async-executor; io_uring: glommio) and the ring for sends without copies (io-uring) are
//! named only here. Traps that this package keeps others out of, and the tests that guard them:
//!
//! - glommio's own call that addresses each datagram cuts them under back-pressure: sockets are connected, and executors
//!   only wait for them (`every_datagram_is_whole_under_back_pressure`);
//! - the segment size of UDP_SEGMENT stays on the socket and cuts what is longer (`a_longer_datagram_after_a_batch_is_not_cut`);
//! - a kernel or path may refuse batches (`a_kernel_that_refuses_batches_gets_single_datagrams`), but a datagram that is too
//!   long is refused in the same words (`a_datagram_longer_than_the_path_takes_is_told_beforehand_and_when_sent`);
//! - an ICMP error of an earlier datagram comes back from the next call (`nobody_listening_is_no_error`);
//! - a receive buffer holds several datagrams, and the segment size comes with it (`a_gso_batch_arrives_whole`);
//! - a socket receives what others on the host have joined: it is bound to the group, with IP_MULTICAST_ALL off
//!   (`another_group_on_the_same_port_does_not_leak_in`);
//! - the kernel's default of 20 memberships per socket (`one_membership_too_many_is_named_with_its_sysctl`);
//! - busy tasks keep others waiting, and the kernel from being asked: a turn is 1 ms (`busy_tasks_leave_others_their_turn`;
//!   glommio's own timer is 100 ms);
//! - glommio may sleep beside tasks that are ready: it is woken every 5 ms, and later again
//!   (`nothing_is_lost_or_doubled_between_shards` hangs now and then without);
//! - it may sleep as well before it has run anything: a shard that has not begun within a second is begun again (seen under load;
//!   no test brings it about);
//! - its rings fail on the shard's thread, after it began (`too_little_lockable_memory_is_a_clear_error`);
//! - async-executor keeps the panic of a task that nobody awaits to itself (`a_panic_of_a_spawned_task_ends_the_shard`);
//! - a task that holds the shard that holds it would never end (`tasks_end_with_main`; glommio's never do);
//! - a mapped file that shrinks kills its reader: files are copied and sealed first (`a_file_that_shrinks_while_it_is_read_costs_nothing`);
//! - the kernel reads a buffer after a zero-copy send has succeeded: until it tells that it is done, nobody can fill it
//!   (`a_buffer_is_not_filled_before_the_kernel_has_read_it`);
//! - sends that wait in a ring overtake each other and block its thread: none waits there
//!   (`a_full_socket_keeps_the_order_and_blocks_nobody`);
//! - zero-copy sends are copied, and slower, where no card cuts datagrams apart (`where_the_kernel_copies_sends_go_on_without`);
//! - a writer that gave up must not take the wake of another (`a_cancelled_writer_does_not_keep_another_asleep`).
//!
//! Absent: pacing by the kernel, AF_XDP, choosing packets by their interface.

pub mod aligned;
pub mod clock;
mod file_map;
mod folder;
mod interface;
pub mod mailbox;
mod receiver;
mod sender;
mod server;
pub mod shard;
mod socket;
mod sockopt;
pub mod tick;
mod watched;
mod zero_copy;

pub use file_map::{FileMap, FileMapError};
pub use folder::AppendFolder;
pub use interface::Interface;
pub use receiver::{Received, RecvBatch, UdpReceiver};
pub use sender::{UdpSender, is_oversize};
pub use server::{ReplyBatch, UdpServer};
pub use socket::{BufferGrant, GroupOptions, SocketError};
pub use zero_copy::{ClosedBuffer, SendBuffer, ZeroCopy, ZeroCopyCounts};
