"""Training in this process in the place of workers, which tests of searches and suites have no need of."""

from grokkit.study.work import Job, train_and_keep


def train_here(monkeypatch, *modules):
    """Let ``modules`` train here; returns a list that gets the ids of what is trained, one list a call."""
    rounds = []

    def train_runs(runs, store, console, on, device, live, limits=None):
        limits = limits or {}
        done = store.finished(run.run_id() for run in runs)
        done -= store.to_continue(done, limits)
        left = [run for run in runs if run.run_id() not in done]
        rounds.append([run.run_id() for run in left])
        for run in left:
            own = {run_id: limit for run_id, limit in limits.items() if run_id == run.run_id()}
            job = Job(str(store.folder), "", "cpu", {run.run_id(): run.model_dump()}, b"", own)
            train_and_keep(job, lambda news: None)
        return {}

    for module in modules:
        monkeypatch.setattr(module, "train_runs", train_runs)
    monkeypatch.setattr("grokkit.study.work.carry", lambda parts: None)
    # A worker collects garbage before its one job; here that would be all that the tests hold, for each run.
    monkeypatch.setattr("grokkit.study.work.keep_freed_memory", lambda: None)
    return rounds
