/*
 * The lease and its fence: sql/claim.sql, complete.sql, finish.sql, fail.sql, hand_back.sql, runners.sql and tick.sql.
 *
 * A job is claimed by runners that freeze, die, are declared dead though they live, and lose their connection in the
 * middle of a call. Whatever they then report late, one outcome counts. Modelled are one job of two attempts, a runner
 * that lives on and one that may die or leave.
 *
 *   Runner          a process with one slot: Claiming and Reporter, with resume_runner() after a broken connection; that it
 *                   freezes is that others go on while it does not, for however long
 *   Server          a call that was under way when the connection broke, and is carried out late, or never
 *   Tick            tick(): _declare_lost_runners(), _take_back_jobs_of(), _take_back_overdue_jobs(), _forget_runners()
 *   claim_job()     claim()
 *   report()        complete(); fail(), also with a reason that gives the job up; snooze() and release() (hand_back)
 *   end_job()       _move_to_finished() and _bury()
 *   put_back()      _put_back(), with an attempt spent or not
 *
 * Left out, and why that is safe:
 *   - Other jobs. A lease is one job's row, and what several have in common is their runner's row, which is here.
 *   - Transactions. Each function locks its rows before it looks at them, reads them again once it has the lock, and holds it
 *     until it commits; so one is here a step that nothing comes into. What that is worth show two of the variants.
 *   - Heartbeats, deadlines and delays. A runner may seem silent at any time, a lease may be overdue at any time, and a job
 *     may be claimed as soon as it is back: more happens here than can. What hurries a runner to stop is not needed.
 *   - Rows of runners that somebody deletes by hand, and the chore that looks for their jobs once a minute; it would also
 *     find, so late, what -DCLAIM_WITHOUT_LOCK loses. cancel(), which takes queued jobs alone, under the lock of their row.
 *     Dead letters' replay, which makes new jobs. Crashes of the server, which undo whole transactions.
 *
 * Claimed: no outcome is accepted but from the claim that has the job by right, that is the last, unless it was taken back
 * or has reported; tick() takes it only from runners declared dead, or overdue; the job ends once; and it does end,
 * whatever befalls the others, if one runner lives on, and every process that can take a step some time takes one.
 *
 * holds
 * refuted -DWITHOUT_FENCE by an assertion: a late outcome counts for whoever has the job now.
 * refuted -DATTEMPT_GOES_BACK by an assertion: what is handed back gets the attempt again that a late outcome names.
 * refuted -DTAKE_BACK_WITHOUT_LOCK by an assertion: between look and deed the job went to a runner that lives.
 * refuted -DCLAIM_WITHOUT_LOCK by a cycle: a runner is declared dead and forgotten in the middle of its claim.
 * refuted -DWITHOUT_RESUME by a cycle: a claim whose answer was lost leaves the job to a runner that lives and knows nothing.
 */

#define IDS 4          /* two runners, one declared dead though it lives, and one connection that breaks */
#define NOBODY 0

mtype:state = { queued, processing, ended };
mtype:row = { absent, registered, lost };
mtype:request = { claim, complete, fail, give_up, hand_back };

/* The job's row in soniq.jobs; ended stands for its row in finished_jobs or dead_letter_jobs. */
mtype:state status = queued;
byte attempt;
byte max_attempts = 2;
byte runner_id;

/* The rows of soniq.runners. */
mtype:row runners[IDS + 1] = absent;
byte last_id;

/* What the world may still do. */
byte hand_backs = 1;
byte breaks = 1;
byte false_deaths = 1;
bool has_crashed[IDS + 1];

/* What a broken connection had under way: the request, the runner's id, and the lease, its attempt and its claim. */
chan under_way = [1] of { mtype:request, byte, byte, byte };

/* What no SQL knows: how often the job was claimed, which of these claims has it by right, and how often it ended. */
byte claims;
byte rightful;
byte ends;

#define is_leased (runner_id != NOBODY)
#define is_stranded (is_leased && runners[runner_id] == lost)

#ifdef WITHOUT_FENCE
#define holds(a) is_leased
#else
#define holds(a) (is_leased && attempt == a)
#endif

inline end_job() {
  status = ended;
  runner_id = NOBODY;
  rightful = 0;
  ends++;
  assert(ends == 1)
}

/* _put_back() */
inline put_back(spends_attempt) {
  status = queued;
  runner_id = NOBODY;
  rightful = 0;
  if
  :: spends_attempt
#ifdef ATTEMPT_GOES_BACK
  :: !spends_attempt -> attempt--
#else
  :: !spends_attempt -> max_attempts++
#endif
  fi
}

/* _fail_leases(), the lease being good */
inline fail_lease() {
  if
  :: attempt < max_attempts -> put_back(true)
  :: else -> end_job()
  fi
}

/* complete(), fail(), snooze() and release(), by whoever believes to hold the lease that this claim gave. */
inline report(what, a, by_claim) {
  if
  :: holds(a) ->
    assert(rightful == by_claim);
    if
    :: what == complete || what == give_up -> end_job()
    :: what == fail -> fail_lease()
    :: what == hand_back -> put_back(false)
    fi
  :: else
  fi
}

/* claim(). Refused, it leaves id as NOBODY. */
inline claim_job(id, has_lease, a, by_claim) {
  atomic {
    if
    :: runners[id] == registered
    :: else -> id = NOBODY
    fi;
#ifdef CLAIM_WITHOUT_LOCK
  }
  atomic {
#endif
    if
    :: id != NOBODY && status == queued ->
      status = processing;
      attempt++;
      runner_id = id;
      claims++;
      rightful = claims;
      has_lease = true;
      a = attempt;
      by_claim = claims
    :: else
    fi
  }
}

/* register_runner() */
inline register(id) {
  last_id++;
  runners[last_id] = registered;
  id = last_id
}

/* resume_runner(), which names the lease that is known. */
inline resume(id, has_lease, a) {
  if
  :: runners[id] == registered ->
    runners[id] = absent;
    former = id;
    register(id);
    if
    :: is_leased && runner_id == former && has_lease && attempt == a -> runner_id = id
    :: is_leased && runner_id == former && !(has_lease && attempt == a) -> put_back(false)
    :: else
    fi;
    former = NOBODY
  :: else -> id = NOBODY
  fi
}

/* deregister_runner() */
inline deregister(id) {
  runners[id] = absent;
  if
  :: is_leased && runner_id == id -> put_back(false)
  :: else
  fi
}

/* A runner's process, with one slot. It may stand still between any two steps, for however long. */
proctype Runner(bool is_mortal) {
  byte id, former, a, by_claim;
  bool has_lease, is_cut_off;
  mtype:request what;

  do
  :: ends > 0 -> break
  :: atomic { ends == 0 && id == NOBODY -> register(id) }
  :: ends == 0 && id != NOBODY && !is_cut_off && !has_lease -> claim_job(id, has_lease, a, by_claim)
  :: atomic { ends == 0 && id != NOBODY && !is_cut_off && !has_lease && breaks > 0 && nfull(under_way) ->
      breaks--;
      is_cut_off = true;
      under_way!claim(id, 0, 0)
    }
  :: atomic { ends == 0 && id != NOBODY && !is_cut_off && has_lease ->
      if
      :: what = complete
      :: what = fail
      :: what = give_up
      :: hand_backs > 0 -> hand_backs--; what = hand_back
      fi;
      if
      :: report(what, a, by_claim); has_lease = false; a = 0; by_claim = 0
      :: breaks > 0 && nfull(under_way) -> breaks--; is_cut_off = true; under_way!what(id, a, by_claim)
      fi;
      what = 0
    }
  :: atomic { ends == 0 && is_cut_off ->
#ifndef WITHOUT_RESUME
      resume(id, has_lease, a);
#endif
      is_cut_off = false
    }
  :: is_mortal -> has_crashed[id] = true; break
  :: atomic { is_mortal && id != NOBODY && !is_cut_off -> deregister(id); break }
  od
}

/* The server, which carries out what a broken connection had under way, however late, unless it never came. */
proctype Server() {
  byte id, a, by_claim;
  bool has_lease;
  mtype:request what;

end:
  do
  :: atomic { under_way?what(id, a, by_claim) ->
      if
      :: what == claim -> claim_job(id, has_lease, a, by_claim)
      :: what != claim -> report(what, a, by_claim)
      :: true
      fi;
      id = 0; a = 0; by_claim = 0; has_lease = false; what = 0
    }
  od
}

/* tick(), again and again. Who is declared dead loses the job in the next round, so that all else may come between. */
proctype Tick() {
  byte id;
  bool found;

  do
  :: ends > 0 -> break
  :: atomic { ends == 0 ->
      /* _take_back_jobs_of() */
      found = is_stranded;
#ifdef TAKE_BACK_WITHOUT_LOCK
    }
    atomic {
#endif
      if
      :: found && is_leased -> assert(is_stranded); fail_lease()
      :: else
      fi;
      found = false;
      /* _take_back_overdue_jobs() */
      if
      :: is_leased -> fail_lease()
      :: true
      fi;
      d_step {
        for (id : 1 .. IDS) {
          if
          /* _forget_runners() */
          :: runners[id] == lost && runner_id != id -> runners[id] = absent
          /* _declare_lost_runners(): who crashed is silent, */
          :: runners[id] == registered && has_crashed[id] -> runners[id] = lost
          :: else
          fi
        }
      };
      /* and one who lives may seem so. */
      if
      :: false_deaths > 0 ->
        select (id : 1 .. last_id);
        if
        :: runners[id] == registered -> false_deaths--; runners[id] = lost
        :: else
        fi
      :: true
      fi;
      id = 0
    }
  od
}

init {
  atomic {
    run Server();
    run Tick();
    run Runner(false);
    run Runner(true)
  }
}

/* It ends once, by an assertion, so again and again is once for all. */
ltl the_job_ends { [] <> (ends > 0) }
