"""kurve's config groups in every Hydra program of an environment that has kurve installed, and a user's own in kurve.

`python app.py +benchmark=aime24` then works in any program with `@hydra.main`. Hydra imports this module in each of
them, so it imports nothing heavy.
"""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from kurve.commands.own_configs import own_folders
from kurve.commands.resolvers import register_resolvers

OURS = "pkg://kurve.conf"

# Here and not in the class: the process of a launcher's job imports the module and composes without asking the class.
register_resolvers()


class KurveSearchPath(SearchPathPlugin):
    """Appends what KURVE_CONF names, then kurve's own groups: a program's own files of the same name come first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folders, each once.

        Raises:
            ConfigError: KURVE_CONF names something that is no folder.
        """
        for path in (*(folder.as_uri() for folder in own_folders()), OURS):
            if all(element.path != path for element in search_path.get_path()):
                search_path.append("kurve", path)
