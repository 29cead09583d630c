"""What the shop stores."""

from django.db import models


class Order(models.Model):
    """An order, of which a task makes an invoice."""

    name = models.TextField()
    invoices = models.IntegerField(default=0)
