"""Hydra's doors into ptft: the user's config folder goes before the built-in one, and its files are checked first.

Hydra finds plug-ins in the namespace `hydra_plugins` only; what they do is decided in `ptft/config`.
"""

from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin

from ptft.config.tree import current_tree
from ptft.config.yaml_guard import check_yaml


class UserTree(SearchPathPlugin):
    """Puts the folder of `--config-dir` before the built-in config tree (Hydra's own flag puts it behind)."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folder, if one was named."""
        folder = current_tree().user
        if folder is not None:
            search_path.prepend("ptft", f"guarded://{folder}", SearchPathQuery(provider="main", path=None))


class GuardedSource(FileConfigSource):
    """A folder of config files that are checked for size, depth and plainness before they are parsed."""

    @staticmethod
    def scheme() -> str:
        """Return what stands before `://` in a search path of this kind."""
        return "guarded"

    def load_config(self, config_path: str) -> ConfigResult:
        """Load one file after checking it.

        Raises:
            ConfigError: The file is too big, too deep, or not plain.
        """
        check_yaml(Path(self.path) / self._normalize_file_name(config_path))
        return super().load_config(config_path)

    def is_group(self, config_path: str) -> bool:
        """Tell whether a folder of options lies at the path; Hydra's own groups are not extended."""
        return not self._is_hydra(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        """Tell whether a config lies at the path; Hydra's own groups are not extended."""
        return not self._is_hydra(config_path) and super().is_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """List what lies at the path; Hydra's own groups are not extended."""
        return [] if self._is_hydra(config_path) else super().list(config_path, results_filter)

    @staticmethod
    def _is_hydra(config_path: str) -> bool:
        return config_path.strip("/").split("/")[0] == "hydra"
