/*
 * The claim hint: sql/scan_hints.sql and _pick_from_lane() in sql/claim.sql.
 *
 * A session that claims starts to read its lane above a key that it remembers, though jobs commit in another order than they
 * took their keys, and come back with keys of old. Modelled are one session with a hint, and a lane of four jobs.
 *
 *   World           everybody else: enqueue() takes a key, and its transaction commits later; other sessions claim, and
 *                   commit or roll back; release() brings a job back with the key it had
 *   Session         claim() again and again, one step for _scan_start(), _pick_from_lane() and _remember_scan(), another
 *                   for the end of the transaction; it may roll back, and may be told to skip jobs (skip_jobs)
 *   remember()      _remember_scan() after a reading that was not both whole and quick; forget() after one that was
 *
 * Left out, and why that is safe:
 *   - Other lanes, each of which has a hint of its own. Where lanes are read together, what another claim takes meanwhile
 *     is passed over as what is locked here.
 *   - Other sessions' hints: no session sees them. What they lock is all that they have to do with each other.
 *   - The clock. How long a reading took, and whether a tenth of a second has passed, may be anything at any time; but
 *     a hint serves two readings at most, which stands for twenty times what the last whole reading took. So this shows
 *     nothing of how soon a job is found that commits a little late, nor of a clock that goes back.
 *
 * Claimed: every job that commits is claimed in the end; and a whole reading leaves no job below the place where the next
 * reading begins that it could have taken, so what commits late is found by the next whole reading, or right after it.
 *
 * holds
 * refuted -DNEVER_WHOLE by a cycle: what has committed below the hint is never found.
 * refuted -DNEVER_GOES_BACK by an assertion: a whole reading that is full leaves jobs below a hint from before.
 * refuted -DSKIPPING_LEAVES_A_HINT by an assertion: what was skipped on purpose lies below the hint.
 */

#define JOBS 4
#define MOST 2         /* max_jobs of a claim is this at most */
#define READINGS 2     /* how many readings a hint serves at most, for twenty times what a whole reading took */

mtype:state = { absent, uncommitted, queued, locked, picked, gone };

/* The lane, by key, which stands for (scheduled_at, id): keys are given out in order, from 1. */
mtype:state lane[JOBS + 1] = absent;
byte last_given;

/* What the world may still do, besides. */
byte rivals = 1;
byte rollbacks = 1;
byte releases = 1;

#define all_gone (lane[1] == gone && lane[2] == gone && lane[3] == gone && lane[4] == gone)

#ifdef SKIPPING_LEAVES_A_HINT
#define leaves_no_hint fails
#else
#define leaves_no_hint (fails || skips)
#endif

#define has(state) (lane[1] == state || lane[2] == state || lane[3] == state || lane[4] == state)

/* Any one of the jobs in one state gets into another. */
inline change(from, to) {
  if
  :: lane[1] == from -> lane[1] = to
  :: lane[2] == from -> lane[2] = to
  :: lane[3] == from -> lane[3] = to
  :: lane[4] == from -> lane[4] = to
  fi
}

/* Everybody else: any number of producers, of sessions that claim without a hint, and of holders of leases. */
active proctype World() {
end:
  do
  /* enqueue() takes a key, and its transaction commits some time. */
  :: atomic { last_given < JOBS -> last_given++; lane[last_given] = uncommitted }
  :: atomic { has(uncommitted) -> change(uncommitted, queued) }
  /* Another session claims a job, and commits or fails to. */
  :: atomic { rivals > 0 && has(queued) -> rivals--; change(queued, locked) }
  :: atomic { has(locked) -> change(locked, gone) }
  :: atomic { rollbacks > 0 && has(locked) -> rollbacks--; change(locked, queued) }
  /* release() lets a job come back with the key it had. */
  :: atomic { releases > 0 && has(gone) -> releases--; change(gone, queued) }
  od
}

/* _remember_scan(), after a reading that took as much as it wanted, or not, and whose last job was `found`. */
inline remember() {
  before = last;
  last = found;
  if
#ifdef NEVER_GOES_BACK
  :: before > found -> last = before
#else
  :: before > found && !is_full -> last = before
#endif
  :: else
  fi;
  if
  :: !has_hint || newer > last -> earlier = 0; newer = last
  :: else ->
    if
    :: true /* the newer one was kept less than a tenth of a second ago */
    :: earlier = newer; newer = last
    fi
  fi;
  has_hint = true;
  start = (is_full -> last : earlier)
}

inline forget() {
  has_hint = false;
  last = 0;
  earlier = 0;
  newer = 0;
  start = 0
}

/* A session that claims, again and again. */
active proctype Session() {
  bool has_hint, is_whole, is_full, skips, fails;
  byte last, earlier, newer, start, readings;
  byte before, found, wanted, number, key;

  do
  :: atomic {
      /* _scan_start() */
      if
#ifdef NEVER_WHOLE
      :: true
#else
      :: start = 0
      :: has_hint && readings < READINGS
#endif
      fi;
      is_whole = (start == 0);

      /* _pick_from_lane(): the oldest jobs that are there and that nobody has locked. */
      select (wanted : 1 .. MOST);
      d_step {
        for (key : 1 .. JOBS) {
          if
          :: lane[key] == queued && number < wanted && key > start && !(skips && key % 2) ->
            lane[key] = picked;
            found = key;
            number++
          :: else
          fi
        };
        is_full = (number == wanted)
      };

      /* A transaction that is rolled back has remembered nothing. */
      if
      :: rollbacks > 0 -> rollbacks--; fails = true
      :: true
      fi;
      if
      :: leaves_no_hint
      :: !leaves_no_hint && is_whole -> readings = 0; forget() /* it was quick */
      :: !leaves_no_hint ->
        readings = (is_whole || readings == READINGS -> 0 : readings + 1);
        remember();
        d_step {
          for (key : 1 .. JOBS) {
            assert(!is_whole || lane[key] != queued || key > start)
          }
        }
      fi;
      is_whole = false; is_full = false; before = 0; found = 0; wanted = 0; number = 0; key = 0
    };
    d_step {
      for (key : 1 .. JOBS) {
        if
        :: lane[key] == picked -> lane[key] = (fails -> queued : gone)
        :: else
        fi
      };
      key = 0;
      fails = false
    };
    /* A claim that skips jobs follows one that does not. */
    if
    :: skips = false
    :: !skips -> skips = true
    fi
  od
}

/* Jobs are few, and come back once, so again and again is once for all. */
ltl every_job_is_found { [] <> all_gone }
