/*
 * The waiting sign: sql/wakeup.sql, runner/soniq/lookout.py and runner/soniq/claiming.py.
 *
 * A job is claimed though an enqueue notifies one runner at most, and only where a runner waits. Modelled are two runners
 * of two slots and any number of producers with three jobs between them, enqueued one by one or two at a time.
 *
 *   Producers       enqueue() and enqueue_many(), which look for signs; their transactions, which commit later
 *   ring()          _ring(): picks among the runners whose sign is up, as many as there are jobs, in any order
 *   Runner          Claiming._claim_until_over(): a look is claim(), then Lookout.looked(); then Lookout.rest(), where
 *                   wait_for_jobs() puts the sign up; or Lookout.leave_to_others(), where there is no room
 *   pass_on()       wake_others()
 *   Handlers        jobs end, or never do; SIGTERM comes to the second runner, or does not
 *
 * Left out, and why that is safe:
 *   - The three locks that are the sign go up and down as one. A runner looks once more when all three are up, so an enqueue
 *     that finds one of them missing is one that came before the sign; and one that finds them half down came after it.
 *   - Notifications arrive with the commit. One that comes later is that of a transaction that commits later, but for its
 *     jobs, which are seen the earlier.
 *   - Queues, jobs for later, and handlers that need a thread: there, more than here is left to the poll. What a dying
 *     runner held comes back by tick(), which is lease.pml's concern.
 *   - How long all this takes. The poll is that a runner that has room may look at any time, and some time does.
 *
 * Claimed: while a job is ready and a runner has room, a runner looks. With the poll this is so whatever commits late and
 * whoever dies (then the wait is that for the next poll); with -DPROMPT there is no poll, and it is so as long as no
 * transaction commits later than it looked and nobody dies. An enqueue of one job notifies one runner at most, one
 * of two jobs two. A runner leaves only when it has passed on what was announced to it.
 *
 * holds
 * holds -DPROMPT
 * refuted -DWITHOUT_POLL by a cycle: a transaction looks, the sign goes up, the runner looks, the transaction commits.
 * refuted -DPROMPT -DWITHOUT_SECOND_LOOK by a cycle: a job comes between the last look and the sign.
 * refuted -DPROMPT -DSIGN_STAYS_UP by a cycle: a runner without room is notified, and nobody else is.
 * refuted -DPROMPT -DWITHOUT_PASSING_ON by a cycle: a runner leaves, or is full, and keeps to itself what it was told.
 * refuted -DPROMPT -DFULL_TELLS_NOBODY by a cycle: a runner takes what it can of several jobs, and others wait.
 * refuted -DRINGS_EVERYONE by an assertion: each enqueue wakes all who wait.
 */

#define SLOTS 2
#define JOBS 3

/* What the database has: jobs that are committed and not claimed, and the signs that are up. */
byte ready;
bool sign[2];

/* What each runner has: jobs, notifications that have come, whether one of them said "more", and whether it leaves. */
byte busy[2];
byte heard[2];
bool heard_more[2];
bool is_leaving[2];

#define has_room(r) (!is_leaving[r] && busy[r] < SLOTS)
#define is_settled (ready == 0 || !(has_room(0) || has_room(1)))

/* Transactions that have enqueued and are not committed: how many jobs, and whom the commit notifies. */
byte jobs_of[JOBS];
bool rings_0[JOBS], rings_1[JOBS];
byte begun, to_come = JOBS;

#if defined(PROMPT) || defined(WITHOUT_POLL)
#define polls false
#else
#define polls true
#endif

#ifdef RINGS_EVERYONE
#define may_ring(r, most) sign[r]
#else
#define may_ring(r, most) (sign[r] && rung[0] + rung[1] < most)
#endif

byte rung[2];

inline ring(most) {
  if
  :: rung[0] = may_ring(0, most); rung[1] = may_ring(1, most)
  :: rung[1] = may_ring(1, most); rung[0] = may_ring(0, most)
  fi
}

inline forget_rung() {
  rung[0] = 0;
  rung[1] = 0
}

/* A notification arrives: "each", or "more" if it announces a job that was alone. */
inline hear(r, says_more) {
  heard[r]++;
  heard_more[r] = heard_more[r] || says_more
}

inline pass_on(jobs) {
  sign[me] = false;
  ring(jobs);
  if
  :: rung[other] > 0 -> hear(other, true)
  :: else
  fi;
  forget_rung()
}

active [2] proctype Runner() {
  bool may_be_more, sign_is_new, told_more;
  byte got, told, others;
  byte me = _pid;
  byte other = 1 - _pid;

  do
  /* Lookout.should_look and looking(), and claim() */
  :: atomic { has_room(me) && (heard[me] > 0 || may_be_more || sign_is_new || !sign[me] || polls) ->
      sign_is_new = false;
      told = heard[me];
      told_more = heard_more[me];
      heard[me] = 0;
      heard_more[me] = false;
      got = (ready < SLOTS - busy[me] -> ready : SLOTS - busy[me]);
      may_be_more = (got == SLOTS - busy[me]);
      ready = ready - got;
      busy[me] = busy[me] + got
    };
    /* Lookout.looked() and _for_others() */
    atomic {
#ifndef FULL_TELLS_NOBODY
      if
      :: may_be_more && (told_more || (sign[me] && told == 0)) -> others = got + told
      :: may_be_more && !(told_more || (sign[me] && told == 0)) -> others = (told > got -> told - got : 0)
      :: else
      fi;
#endif
      if
      :: others > 0 -> pass_on(others)
      :: others == 0 && got > 0 -> sign[me] = false /* jobs come in a stream, or there may be more */
      :: others == 0 && !(got > 0 && may_be_more)
      fi;
      told = 0;
      told_more = false;
      others = 0
    };
    /* Lookout.rest() */
    if
    :: atomic { got == 0 && !sign[me] ->
        sign[me] = true;
#ifndef WITHOUT_SECOND_LOOK
        sign_is_new = true
#endif
      }
    :: true /* the sign is up, or it naps a little and looks again */
    fi;
    got = 0
#ifndef SIGN_STAYS_UP
  /* Lookout.leave_to_others() */
  :: atomic { !has_room(me) && (sign[me] || heard[me] > 0) ->
#ifndef WITHOUT_PASSING_ON
      told = heard[me];
#endif
      heard[me] = 0;
      heard_more[me] = false;
      pass_on(told);
      told = 0
    }
#endif
  :: is_leaving[me] && busy[me] == 0 && !sign[me] && heard[me] == 0 -> break
#ifndef PROMPT
  :: atomic { me == 1 -> is_leaving[me] = true; sign[me] = false }; break /* It dies, and its sign with it. */
#endif
  od
}

active proctype Handlers() {
  do
  :: atomic { busy[0] > 0 -> busy[0]-- }
  :: atomic { busy[1] > 0 -> busy[1]-- }
  :: atomic { !is_leaving[1] -> is_leaving[1] = true }
  :: break
  od
}

inline commit(t) {
  ready = ready + jobs_of[t];
  if
  :: rings_0[t] -> hear(0, jobs_of[t] == 1)
  :: else
  fi;
  if
  :: rings_1[t] -> hear(1, jobs_of[t] == 1)
  :: else
  fi;
  jobs_of[t] = 0;
  rings_0[t] = false;
  rings_1[t] = false
}

active proctype Producers() {
end:
  do
  :: atomic { to_come > 0 ->
      if
      :: jobs_of[begun] = 1
      :: to_come > 1 -> jobs_of[begun] = 2
      fi;
      to_come = to_come - jobs_of[begun];
      ring(jobs_of[begun]);
      assert(rung[0] + rung[1] <= jobs_of[begun]);
      rings_0[begun] = rung[0];
      rings_1[begun] = rung[1];
      forget_rung();
#ifdef PROMPT
      commit(begun);
#endif
      begun++
    }
#ifndef PROMPT
  :: atomic { jobs_of[0] > 0 -> commit(0) }
  :: atomic { jobs_of[1] > 0 -> commit(1) }
  :: atomic { jobs_of[2] > 0 -> commit(2) }
#endif
  od
}

/* Jobs and slots are few, so what is so again and again is that no job waits for ever while there is room. */
ltl no_job_waits { [] <> is_settled }
