#define IDS 4      /* two runners, and one more for each false death and each connection that breaks */
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
  assert(last_id < IDS);
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
      for (id : 1 .. IDS) {
        if
        /* _forget_runners() */
        :: runners[id] == lost && runner_id != id -> runners[id] = absent
        /* _declare_lost_runners(): who crashed is silent, one who lives may seem so. */
        :: runners[id] == registered && has_crashed[id] -> runners[id] = lost
        :: runners[id] == registered && !has_crashed[id] && false_deaths > 0 -> false_deaths--; runners[id] = lost
        :: runners[id] == registered && !has_crashed[id]
        :: else
        fi
      };
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

ltl the_job_ends { [] <> (ends > 0) }
