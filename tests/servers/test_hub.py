"""The hub's stand-in is faithful enough for the library's own download, and its faults are what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from servers.hub import HubServer, repo
from servers.weights import folder, gguf

pytestmark = pytest.mark.server
FILE = "m-Q8_0.gguf"


def test_the_library_s_own_download_takes_it_for_a_hub(tmp_path: Path) -> None:
    from huggingface_hub import HfApi

    files = {**folder(), FILE: gguf()}
    with HubServer({"o/m": repo(files)}) as hub:
        api = HfApi(endpoint=hub.endpoint, token=False)
        info = api.model_info("o/m", revision="main", files_metadata=True)
        for name in (FILE, "config.json"):
            path = api.hf_hub_download("o/m", name, local_dir=tmp_path)
            assert Path(path).read_bytes() == files[name]
    assert info.sha == "1" * 40
    assert {one.rfilename: one.size for one in info.siblings or []} == {name: len(data) for name, data in files.items()}
    assert [bool(one.lfs) for one in info.siblings or [] if one.rfilename in (FILE, "config.json")] == [False, True]


def test_its_errors_are_those_of_the_hub(tmp_path: Path) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    with HubServer({"o/m": repo({FILE: gguf()}), "o/gated": repo({FILE: gguf()}, gated="t")}) as hub:
        api = HfApi(endpoint=hub.endpoint, token=False)
        with pytest.raises(GatedRepoError):
            api.hf_hub_download("o/gated", FILE, local_dir=tmp_path)
        with pytest.raises(RepositoryNotFoundError):
            api.model_info("o/gone", revision="main")
        with pytest.raises(RevisionNotFoundError):
            api.model_info("o/m", revision="gone")
