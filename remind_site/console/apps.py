from django.contrib.admin.apps import AdminConfig
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_migrate


class ConsoleConfig(AdminConfig):
    default_site = "remind_site.console.site.Console"

    def ready(self) -> None:
        super().ready()
        from unfold import fields

        from remind_site.console import licenses, log_ins, others, roles  # noqa: F401  # after all apps registered theirs

        # Where Pygments is installed, unfold colours JSON by inline styles, which no page here allows.
        fields.prettify_json = lambda *_: None
        post_migrate.connect(roles.install, sender=self)
        user_logged_in.connect(log_ins.note_log_in)
        user_logged_out.connect(log_ins.note_log_out)
        user_login_failed.connect(log_ins.note_failure)
