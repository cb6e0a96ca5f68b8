"""Configuration files: named profiles with a destination, a queue and job settings.

The user's file is `~/.config/tej/config.toml` (`%APPDATA%\\tej\\config.toml` on
Windows).  The project's file is `tej.toml` in the current directory or in the nearest
directory above it.  docs/configuration.md describes the keys, which are the same in
both files.  The command line and `RemoteQueue.from_profile` read the files; the other
parts of tej do not.
"""

from tej.config.files import add_profile, find_project_file, load, user_file
from tej.config.profile import Config, Profile, Setting

__all__ = [
    "Config",
    "Profile",
    "Setting",
    "add_profile",
    "find_project_file",
    "load",
    "user_file",
]
