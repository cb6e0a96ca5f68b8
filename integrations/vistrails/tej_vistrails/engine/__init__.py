"""Engine that executes pipelines without VisTrails but with VisTrails' signatures."""
