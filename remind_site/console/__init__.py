"""The console: Django's admin as people who sell, change and mend licenses use it.

Each app registers its own models in its `admin.py`; here is what draws on all of them: the site and its door (`site`,
`second_factor`, `roles`, `log_ins`), the home, finding a customer and the page about one (`home`, `find`, `customer`),
and everything that can be done there (`actions`, carried out by `acting`). What a license may is
decided in `licenses` and `billing`. Its templates are in `templates/console/`.
"""
