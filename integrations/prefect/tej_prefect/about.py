"""Where Prefect's pages send people who want to know more."""

DOCUMENTATION = "https://github.com/VisTrails/tej"
LOGO = "https://github.com/VisTrails.png?size=200"
