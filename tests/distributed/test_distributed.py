"""Two real processes: DDP and FSDP2 against one process, checkpoints resumed by two and by one."""

import pytest
import torch
from distributed import jobs
from distributed.jobs import FILTERS, REDUCTIONS, TRANSFORMS
from distributed.together import together

pytestmark = [
    pytest.mark.slow,  # half a minute, most of it to start the processes
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo"),
]

HALF, END = 3, 6
WRAPS = pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
KEPT = pytest.mark.parametrize("name", ["ma", "neuralgrok", "both"])  # one state a parameter, one for all, and each


def equal(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def close(ours, theirs, rtol=1e-9):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=1e-12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def done(folder):
    """What each process came to with a job."""
    results = together("distributed.jobs", "everything", str(folder), HALF, END)

    def of(job):
        for result in results:
            assert not isinstance(result[job], str) or job in ("not finite", "partly sharded"), result[job]
        return [result[job] for result in results]

    return of


@WRAPS
@pytest.mark.parametrize("name", TRANSFORMS)
def test_two_processes_do_what_one_does(done, wrap, name):
    """The same gradients given to a model in one process and filtered by hand. Only reductions may round otherwise."""
    ends = [found[name] for found in done(f"trained {wrap}")]
    for ours, theirs in ends:
        close(ours, theirs, rtol=1e-13 if name in FILTERS else 1e-9)
    assert equal(ends[0][0], ends[1][0])


def test_ddp_accumulates_and_filters_once(done):
    for ours, theirs, steps in done("accumulated"):
        close(ours, theirs, rtol=1e-13)
        assert steps == {4}


@WRAPS
def test_the_recipe_trains_a_model_of_two_processes_as_one_does_and_resumes(done, wrap):
    ends = done(f"recipe {wrap}")
    for ours, resumed, theirs in ends:
        assert equal(resumed, ours)
        close(ours, theirs, rtol=1e-8)
    assert equal(ends[0][0], ends[1][0])


@WRAPS
def test_weights_that_were_loaded_before_the_recipe_are_as_saved_once_its_optimizer_is_loaded(done, wrap):
    """Those of a shard too that has no moments, since it never had a gradient."""
    for started, ours, saved in done(f"loaded first {wrap}"):
        assert "4.weight" in started[-1]
        assert equal(ours, saved)


def test_the_recipe_refuses_a_model_that_is_sharded_in_part(done):
    for message in done("partly sharded"):
        assert message == (
            "recipe() cannot train 2.weight, which is not sharded as others are; fully_shard(model) as well"
        )


def test_an_embedding_is_transferred_before_a_model_is_distributed_and_merged_in_a_whole_one(done):
    for said in done("transfers"):
        assert said["sharded first"].endswith("transfer the embedding before fully_shard(), or a whole model")
        assert said["within DDP"].endswith("must stay; transfer the embedding before it is wrapped")
        assert said["merged within DDP"].endswith("must stay; merge the model itself, and before it is wrapped")
        assert said["merged sharded"].startswith("the weight of the embedding is sharded; merge the model itself")
        assert ["wrap the model anew" in text for text in said["merged whole"]] == [True]


def test_pure_faces_work_on_sharded_gradients(done):
    for found in done("pure faces"):
        for ours, theirs in found.values():
            close(ours, theirs)


@WRAPS
def test_outer_steps_of_two_processes_are_those_of_one(done, wrap):
    amplifier, updates, model = jobs.outer_steps_alone()
    for theirs, their_updates, their_model, untouched in done(f"outer {wrap}"):
        assert (their_updates, untouched) == (updates, True)
        close(theirs.values(), amplifier.values(), rtol=1e-6)
        close(their_model, model, rtol=1e-6)


def test_an_infinity_in_one_shard_is_refused_by_all(done):
    for message in done("not finite"):
        assert "has 1 entries that are not finite, of 15" in message


def test_a_partial_gradient_is_summed_first(done):
    for p in done("partial"):
        torch.testing.assert_close(p, torch.tensor([-0.6, -0.8]))


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")  # as it should be, in one process
@WRAPS
@KEPT
def test_a_checkpoint_of_two_resumes_by_two_and_by_one(done, folder, wrap, name):
    saved, resumed = done(f"save {wrap} {name}"), done(f"resume {wrap} {name}")
    for ours, (whole, _) in zip(resumed, saved, strict=True):
        assert equal(ours, whole)
    whole, grads = saved[0]
    alone = jobs.resume_alone(name, str(folder / f"{wrap}-{name}"), grads)
    close(alone, whole, rtol=1e-9 if name in REDUCTIONS else 1e-13)


@KEPT
def test_a_checkpoint_before_the_first_step_begins_no_average(done, name):
    for saved_first, not_saved in done(f"before {name}"):
        assert equal(saved_first, not_saved)


def test_a_full_state_dict_is_that_of_one_process(done):
    _, optimizer_state = done("full state")[0]
    model = jobs.network()
    optimizer = jobs.adam(model)
    jobs.attach(optimizer, TRANSFORMS["ma"]())
    jobs.train(model, optimizer, range(HALF))
    kept = {key for key in optimizer_state["state"]["0.weight"] if "grokkit" in key}
    assert kept == {"grokkit/step", "grokkit/window", "grokkit/total"}
    for name, p in model.named_parameters():
        entry, expected = optimizer_state["state"][name], optimizer.state[p]
        close([entry["grokkit/window"]], [expected["grokkit/window"]], rtol=1e-6)
        assert entry["grokkit/step"] == HALF
