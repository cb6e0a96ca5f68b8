"""An engine for pipelines of these modules, with VisTrails' API and signatures."""
