//! Long calls, which run in threads of their own instead of on a scheduler.
//!
//! The VM has one dirty CPU scheduler for each core, on which it also collects the garbage of large heaps. A
//! call of seconds there delays every other process that needs one. So a long call is a job: the NIF copies
//! its arguments to an environment of the job, which shares large binaries, and returns. A thread does the
//! work and sends the result to the caller, which waits for that message as any process does.
//!
//! Jobs are short or long. A short one is a piece of a stream, or takes up to some hundred milliseconds. It
//! starts before the long ones that wait, and one thread takes nothing else, so that it never waits for a
//! long one to end. Jobs of a kind start in the order in which they arrive. As many run at once as
//! [`most_threads`] returns, so the memory of a call counts at most as many times, however many processes
//! call.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use chunker::IoError;
use rustler::env::{OwnedEnv, SavedTerm};
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, Error, LocalPid, NifResult, NifTuple, NifUnitEnum, Reference, Term};

use crate::atoms;
use crate::call::{Call, Place};
use crate::error::NifError;

/// The body of a NIF. The terms of its arguments belong to another environment than the call: what it returns
/// is encoded in that of the call.
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
    short: VecDeque<Job>,
    long: VecDeque<Job>,
    /// The number of threads, and of those among them that wait for a job.
    threads: usize,
    idle: usize,
    /// The number of long jobs that run.
    long_running: usize,
    /// When the long jobs of dead callers were dropped last.
    pruned: Option<Instant>,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    short: VecDeque::new(),
    long: VecDeque::new(),
    threads: 0,
    idle: 0,
    long_running: 0,
    pruned: None,
});
static ARRIVED: Condvar = Condvar::new();

/// How long a thread waits for another job before it ends, unless jobs are left that it may not take. It then
/// drops those whose callers have died, and waits again.
const LINGER: Duration = Duration::from_secs(10);

/// Returns how many jobs run at once: one more than there are cores. As many long ones as there are cores
/// run.
fn most_threads() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| available_parallelism().map_or(1, usize::from) + 1)
}

impl Queue {
    /// Takes the next job that may run, and whether it is long. The first long one goes before short ones, so
    /// that these cannot keep it waiting for ever.
    fn take(&mut self) -> Option<(Job, bool)> {
        let long = if self.long_running == 0 { self.long.pop_front() } else { None };
        let job = match long {
            Some(job) => (job, true),
            None => match self.short.pop_front() {
                Some(job) => (job, false),
                None if self.long_running + 1 < most_threads() => (self.long.pop_front()?, true),
                None => return None,
            },
        };
        self.long_running += usize::from(job.1);
        Some(job)
    }

    /// Takes the long jobs whose callers have died, and which therefore need not keep their inputs while they
    /// wait for others to end. At most once in a while, since that asks for all of them.
    fn take_dead(&mut self) -> Vec<Job> {
        if self.long.is_empty() || self.pruned.is_some_and(|pruned| pruned.elapsed() < LINGER) {
            return Vec::new();
        }
        self.pruned = Some(Instant::now());
        let (waiting, dead) = self.long.drain(..).partition::<Vec<_>, _>(Job::is_wanted);
        self.long = waiting.into();
        dead
    }
}

fn lock() -> MutexGuard<'static, Queue> {
    // No code that can panic runs under the lock.
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a caller gives to its job: `{short | long, Reference}`.
#[derive(NifTuple)]
#[rustler(decode)]
pub(crate) struct Ticket<'a> {
    kind: Kind,
    reference: Reference<'a>,
}

#[derive(NifUnitEnum)]
#[rustler(decode)]
enum Kind {
    Short,
    Long,
}

/// Starts a job, and returns `ok`: the caller receives `{Reference, returned, Result}` or `{Reference,
/// raised, Reason}`. Fails if the operating system cannot create a thread, and there is none.
pub(crate) fn start<'a>(
    env: Env<'a>,
    ticket: Ticket<'a>,
    arguments: Vec<Term<'a>>,
    body: Body,
) -> Result<Term<'a>, NifError<'a>> {
    let own = OwnedEnv::new();
    let saved = own.save((Term::from(ticket.reference), arguments));
    let job = Job { body, caller: env.pid(), arguments: own, saved };
    let mut queue = lock();
    if queue.threads < most_threads() && queue.idle <= queue.short.len() + queue.long.len() {
        let thread = std::thread::Builder::new().name("chunker-job".into());
        match thread.spawn(work) {
            Ok(_) => queue.threads += 1,
            Err(source) if queue.threads == 0 => return Err(IoError { path: None, source }.into()),
            // A thread that is at work takes it later.
            Err(_) => {}
        }
    }
    match ticket.kind {
        Kind::Short => queue.short.push_back(job),
        Kind::Long => queue.long.push_back(job),
    }
    ARRIVED.notify_one();
    Ok(atoms::ok().encode(env))
}

/// The nice level of the library's threads, unless that of the VM is higher.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Lets the VM's own threads run before the calling one, where threads have priorities of their own. A
/// scheduler yields often before it sleeps, and a thread of the same priority keeps the core for a time slice
/// at each yield, so that processes would wake 100 ms late beside several jobs.
pub(crate) fn lower_priority() {
    #[cfg(target_os = "linux")]
    if rustix::process::getpriority_process(None).is_ok_and(|nice| nice < NICE) {
        let _ = rustix::process::setpriority_process(None, NICE);
    }
}

/// Runs jobs until none has arrived for a while.
fn work() {
    lower_priority();
    let mut queue = lock();
    loop {
        if let Some((job, is_long)) = queue.take() {
            drop(queue);
            // A panic must not end the thread without its being counted.
            let _ = catch_unwind(AssertUnwindSafe(|| job.run()));
            queue = lock();
            queue.long_running -= usize::from(is_long);
            continue;
        }
        queue.idle += 1;
        let (woken, waited) = ARRIVED.wait_timeout(queue, LINGER).unwrap_or_else(PoisonError::into_inner);
        queue = woken;
        queue.idle -= 1;
        let dead = queue.take_dead();
        if waited.timed_out() && queue.short.is_empty() && queue.long.is_empty() {
            queue.threads -= 1;
            return;
        }
        if !dead.is_empty() {
            // Frees their inputs, which may be large.
            drop(queue);
            drop(dead);
            queue = lock();
        }
    }
}

impl Job {
    /// Returns whether the caller is alive.
    fn is_wanted(&self) -> bool {
        self.arguments.run(|env| self.caller.is_alive(env))
    }

    fn run(self) {
        // The process may have died while its job was waiting.
        if !self.is_wanted() {
            return;
        }
        let Self { body, caller, arguments, saved } = self;
        // The result gets an environment of its own: a message keeps all that its environment has. A message
        // to a process that has died is dropped.
        let _ = OwnedEnv::new().send_and_clear(&caller, |env| {
            let (reference, terms): (Term<'_>, Vec<Term<'_>>) =
                arguments.run(|arguments| saved.load(arguments).decode()).expect("this pair was saved");
            let reference = reference.in_env(env);
            let call = Call::new(env, caller, Place::Job);
            // The body catches panics of the engine; here are those of decoders and of errors. As on a
            // scheduler, they have the name that rustler gives them.
            match catch_unwind(AssertUnwindSafe(|| body(call, terms))) {
                Ok(Ok(term)) => (reference, atoms::returned(), term).encode(env),
                Ok(Err(error)) => (reference, atoms::raised(), reason(env, error)).encode(env),
                Err(_) => (reference, atoms::raised(), atoms::nif_panicked()).encode(env),
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
