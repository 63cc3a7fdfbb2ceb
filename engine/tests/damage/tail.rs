//! The log's tail: what was not acknowledged may be torn in any way, and is cut; what was is refused once it is
//! damaged, and never cut.

use stoa_engine::io::SimDisk;
use stoa_engine::io::sim::{Crash, Keep, Moment};
use stoa_engine::{ErrorKind, Store};
use stoa_format::wal::{BLOCK_BYTES, FrameKind, OuterShell};

use crate::damages::FileKind;
use crate::life::{Life, options};
use crate::model::{Act, StoreState};
use crate::reading::{Answers, Asked, ask_pool};
use crate::script::{Step, new_user_attrs};

/// A frame of the log's last segment.
struct Placed {
    at: usize,
    end: usize,
    kind: FrameKind,
}

/// A store that stopped without being closed.
struct Stopped {
    /// Right after the last commit was acknowledged.
    unsealed: Moment,
    /// After a seal frame that covers it.
    sealed: Moment,
    /// The pool before the last commit, and after it.
    before: Answers,
    after: Answers,
    asked: Asked,
    segment: String,
}

fn create(user: u64) -> Step {
    Step::Commit("acme", vec![Act::Create { user, attrs: new_user_attrs(user), password: false }])
}

fn now(disk: &SimDisk) -> Moment {
    disk.record();
    disk.moments().pop().expect("the present moment")
}

fn image(moment: &Moment) -> SimDisk {
    moment.crash(Crash::whole(Keep::None))
}

fn read(store: &Store, asked: &Asked) -> Answers {
    let mut answers = Answers::new();
    ask_pool(store, "acme", asked, &mut answers);
    answers
}

/// The frames of the last segment.
fn frames(disk: &SimDisk, segment: &str) -> Vec<Placed> {
    let bytes = disk.contents(segment).unwrap();
    let placed = |part: std::ops::Range<usize>| {
        let (shell, _) = OuterShell::decode_frame(&bytes[part.start..]).ok()?;
        Some(Placed { at: part.start, end: part.end, kind: shell.kind })
    };
    FileKind::Segment.parts(&bytes).into_iter().skip(1).filter_map(placed).collect()
}

impl Stopped {
    fn make() -> Self {
        let disk = SimDisk::new(21);
        let mut life = Life::begin(&disk, StoreState::default()).unwrap();
        for step in [Step::CreatePool("acme"), create(0), create(1), Step::Flush("acme"), create(2)] {
            life.take(&step).unwrap();
        }
        let mut asked = Asked::of(&life.state.pools["acme"], Default::default());
        asked.subs.push(crate::model::sub_of(3));
        let before = read(life.store().unwrap(), &asked);
        life.take(&create(3)).unwrap();
        let after = read(life.store().unwrap(), &asked);
        let unsealed = now(&disk);
        let segment = disk.files().into_iter().rfind(|file| FileKind::of(file) == FileKind::Segment).unwrap();
        disk.record();
        life.store.take().unwrap().close().unwrap();
        let count = frames(&image(&unsealed), &segment).len();
        let is_sealed = |moment: &Moment| frames(&image(moment), &segment).len() > count;
        let sealed = disk.moments().into_iter().find(is_sealed).expect("a moment between the seal and the catalogue");
        assert!(!image(&sealed).files().contains(&"DATA/CATALOGUE".to_owned()), "nothing but the seal claims anything");
        Self { unsealed, sealed, before, after, asked, segment }
    }

    /// The store opens, and holds this.
    fn holds(&self, disk: &SimDisk, expected: &Answers, what: &str) {
        let store = Store::open(options(disk)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = read(&store, &self.asked);
        for (question, answer) in expected {
            assert_eq!(found[question].as_ref().ok(), answer.as_ref().ok(), "{what}: {question}");
        }
    }

    /// The store does not open, and says where: not behind the damage, and not before the frame before it.
    fn is_refused(&self, disk: &SimDisk, from: usize, at: usize) {
        let Err(error) = Store::open(options(disk)) else { panic!("byte {at}: an acknowledged frame is cut") };
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        let name = self.segment.strip_prefix("DATA/").unwrap();
        let (_, rest) = error.message().split_once(&format!("{name} offset ")).unwrap_or_else(|| panic!("{error}"));
        let said: usize = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap();
        assert!((from..=at.max(from)).contains(&said), "byte {at}: {error}");
    }
}

fn flip(disk: &SimDisk, file: &str, at: usize) {
    disk.flip_bit(file, at as u64, (at % 8) as u8).unwrap();
}

#[test]
fn a_torn_tail_is_cut_and_no_healthy_store_is_refused() {
    let stopped = Stopped::make();
    let last = frames(&image(&stopped.unsealed), &stopped.segment).pop().unwrap();
    stopped.holds(&image(&stopped.unsealed), &stopped.after, "a store that was killed");
    stopped.holds(&image(&stopped.sealed), &stopped.after, "a store that was killed when idle");
    let bytes = image(&stopped.unsealed).contents(&stopped.segment).unwrap();
    // The batch came to the disk up to here, or but for these sectors; what stood there before was zero.
    for upto in last.at..last.end {
        let disk = image(&stopped.unsealed);
        disk.overwrite(&stopped.segment, upto as u64, &vec![0; last.end - upto]).unwrap();
        let cut = bytes[upto..last.end].iter().any(|&byte| byte != 0);
        stopped.holds(&disk, if cut { &stopped.before } else { &stopped.after }, &format!("written up to {upto}"));
    }
    for sector in (last.at..last.end).step_by(512) {
        let disk = image(&stopped.unsealed);
        disk.overwrite(&stopped.segment, sector as u64, &vec![0; 512.min(last.end - sector)]).unwrap();
        stopped.holds(&disk, &stopped.before, &format!("without the sector at {sector}"));
    }
    for at in last.at..last.end {
        let disk = image(&stopped.unsealed);
        flip(&disk, &stopped.segment, at);
        stopped.holds(&disk, &stopped.before, &format!("noise at {at}"));
    }
    // Nothing rests on the seal frame itself.
    let seal = frames(&image(&stopped.sealed), &stopped.segment).pop().unwrap();
    assert_eq!(seal.kind, FrameKind::Seal);
    for at in seal.at..seal.end {
        let disk = image(&stopped.sealed);
        flip(&disk, &stopped.segment, at);
        stopped.holds(&disk, &stopped.after, &format!("a seal torn at {at}"));
    }
}

#[test]
fn an_acknowledged_frame_is_never_cut() {
    let stopped = Stopped::make();
    let mut tried = 0;
    for (moment, covered) in [(&stopped.unsealed, 1), (&stopped.sealed, 1)] {
        let frames = frames(&image(moment), &stopped.segment);
        // A frame says that those before it are durable, so that all but the last are known to be acknowledged.
        let mut before = BLOCK_BYTES;
        for frame in &frames[..frames.len() - covered] {
            for at in frame.at..frame.end {
                let disk = image(moment);
                flip(&disk, &stopped.segment, at);
                stopped.is_refused(&disk, before, at);
                tried += 1;
            }
            before = frame.end;
        }
        for at in 0..BLOCK_BYTES {
            let disk = image(moment);
            flip(&disk, &stopped.segment, at);
            stopped.is_refused(&disk, 0, BLOCK_BYTES);
            tried += 1;
        }
    }
    eprintln!("{tried} bytes of acknowledged frames and their segment's header flipped");
}
