//! Long calls, which run in threads of their own instead of on a scheduler.
//!
//! The VM has one dirty CPU scheduler for each core, on which it also collects the garbage of large heaps. A
//! call of seconds there delays every other process that needs one. So a long call is a job: the NIF copies
//! its arguments to an environment of the job, which shares large binaries, and returns. A thread does the
//! work and sends the result to the caller, which waits for that message as any process does.
//!
//! Jobs start in the order in which they arrive. As many run at once as [`most_threads`] returns, so the
//! memory of a call counts at most as many times, however many processes call.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use chunker::IoError;
use rustler::env::{OwnedEnv, SavedTerm};
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, Error, LocalPid, NifResult, Reference, Term};

use crate::atoms;
use crate::call::{Call, Place};
use crate::error::NifError;

/// The body of a NIF. The terms of its arguments belong to another environment than the call: what it returns is
/// encoded in that of the call.
pub(crate) type Body = for<'a> fn(Call<'a>, Vec<Term<'a>>) -> NifResult<Term<'a>>;

/// A call that runs or waits for a thread.
struct Job {
    body: Body,
    caller: LocalPid,
    /// Holds the reference of the answer and the arguments, which are `saved`.
    arguments: OwnedEnv,
    saved: SavedTerm,
}

/// The jobs that wait, and the threads.
struct Queue {
    waiting: VecDeque<Job>,
    /// The number of threads, and of those among them that wait for a job.
    threads: usize,
    idle: usize,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { waiting: VecDeque::new(), threads: 0, idle: 0 });
static ARRIVED: Condvar = Condvar::new();

/// How long a thread waits for another job before it ends.
const LINGER: Duration = Duration::from_secs(10);

/// Returns how many jobs run at once: one more than there are cores, so that a job may wait for a disk while the
/// others use them.
fn most_threads() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| available_parallelism().map_or(1, usize::from) + 1)
}

fn lock() -> MutexGuard<'static, Queue> {
    // No code that can panic runs under the lock.
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a job, and returns `ok`: the caller receives `{Reference, returned, Result}` or `{Reference, raised,
/// Reason}`. Fails if the operating system cannot create a thread, and there is none.
pub(crate) fn start<'a>(
    env: Env<'a>,
    reference: Reference<'a>,
    arguments: Vec<Term<'a>>,
    body: Body,
) -> Result<Term<'a>, NifError<'a>> {
    let own = OwnedEnv::new();
    let saved = own.save((Term::from(reference), arguments));
    let job = Job { body, caller: env.pid(), arguments: own, saved };
    let mut queue = lock();
    queue.waiting.push_back(job);
    if queue.idle >= queue.waiting.len() {
        ARRIVED.notify_one();
    } else if queue.threads < most_threads() {
        let thread = std::thread::Builder::new().name("chunker-job".into());
        match thread.spawn(work) {
            Ok(_) => queue.threads += 1,
            Err(source) if queue.threads == 0 => {
                queue.waiting.pop_back();
                return Err(IoError { path: None, source }.into());
            }
            // A thread that is at work takes it later.
            Err(_) => {}
        }
    }
    Ok(atoms::ok().encode(env))
}

/// Lets the VM's own threads run before the calling one, where threads have priorities of their own. A scheduler
/// yields often before it sleeps, and a thread of the same priority keeps the core for a time slice at each
/// yield, so that processes would wake 100 ms late beside several jobs.
pub(crate) fn lower_priority() {
    // Fails if the priority of the whole VM is lower already.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 10);
}

/// Runs jobs until none has arrived for a while.
fn work() {
    lower_priority();
    let mut queue = lock();
    loop {
        if let Some(job) = queue.waiting.pop_front() {
            drop(queue);
            // A body catches its own panics. Another one must not end the thread without its being counted.
            let _ = catch_unwind(AssertUnwindSafe(|| job.run()));
            queue = lock();
            continue;
        }
        queue.idle += 1;
        let (woken, waited) = ARRIVED.wait_timeout(queue, LINGER).unwrap_or_else(PoisonError::into_inner);
        queue = woken;
        queue.idle -= 1;
        if waited.timed_out() && queue.waiting.is_empty() {
            queue.threads -= 1;
            return;
        }
    }
}

impl Job {
    fn run(self) {
        let Self { body, caller, arguments, saved } = self;
        // The process may have died while its job was waiting.
        if !arguments.run(|env| caller.is_alive(env)) {
            return;
        }
        // The result gets an environment of its own: a message keeps all that its environment has. A message to
        // a process that has died is dropped.
        let _ = OwnedEnv::new().send_and_clear(&caller, |env| {
            let (reference, terms): (Term<'_>, Vec<Term<'_>>) =
                arguments.run(|arguments| saved.load(arguments).decode()).expect("this pair was saved");
            let reference = reference.in_env(env);
            match body(Call::new(env, caller, Place::Job), terms) {
                Ok(term) => (reference, atoms::returned(), term).encode(env),
                Err(error) => (reference, atoms::raised(), reason(env, error)).encode(env),
            }
        });
    }
}

/// Returns the reason of the exception that an error of a NIF stands for.
fn reason(env: Env<'_>, error: Error) -> Term<'_> {
    match error {
        Error::BadArg => atoms::badarg().encode(env),
        Error::RaiseAtom(name) | Error::Atom(name) => {
            Atom::from_str(env, name).map_or_else(|_| atoms::badarg().encode(env), |atom| atom.encode(env))
        }
        Error::RaiseTerm(term) | Error::Term(term) => term.encode(env),
    }
}
