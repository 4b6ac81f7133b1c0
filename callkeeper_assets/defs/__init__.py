"""The sources, one folder each, `<source>/defs.yaml`; `dg scaffold defs` makes one."""
