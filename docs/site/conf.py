"""How the pages become a site: `./run site`. The tree of pages is made by tests/packaging/site.py."""

from importlib.metadata import version as version_of

project = "bgjobd"
author = "the bgjobd authors"
copyright = "the bgjobd authors"
release = version = version_of("bgjobd")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "index"
html_theme = "furo"
html_title = "bgjobd"
html_copy_source = False
html_show_sphinx = False

default_role = "code"
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # a console's session is no program

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
