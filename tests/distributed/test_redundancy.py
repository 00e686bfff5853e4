"""``ZeroRedundancyOptimizer`` in one process and in two: filtered, saved and resumed, or refused with the remedy."""

import pytest
import torch
from distributed.together import together

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo"),
]


@pytest.mark.parametrize("processes", [1, 2])
def test_each_process_s_part_is_filtered_saved_and_resumed(processes):
    for found, (averages, shared) in together("distributed.redundancy", "everything", 3, 6, processes=processes):
        for whole, resumed, alone, refusal in found.values():
            assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
            for ours, theirs in zip(whole, alone, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
            assert ("attach() to each of these" in refusal and "optimizer.optim" in refusal) == (processes > 1)
        assert averages > 0
        if processes == 1:  # what is attached to a part knows nothing of the whole: it copies when it steps
            assert shared == 0
