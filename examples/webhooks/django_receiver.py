"""Receives FlowMaestro webhooks with Django, in one file.

FLOWMAESTRO_WEBHOOK_SECRET=whsec_... uv run --group webhooks examples/webhooks/django_receiver.py runserver
"""

import os
import sys

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from flowmaestro.webhooks import WebhookVerificationError, construct_event, delivery_id

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="only for this example",
        # Django refuses bodies of more than 2.5 MB unless it is told otherwise.
        DATA_UPLOAD_MAX_MEMORY_SIZE=20_000_000,
    )
    django.setup()

handled: set[str] = set()  # in a real program: a unique column of your database


@csrf_exempt
def hook(request: HttpRequest) -> JsonResponse:
    secret = os.environ["FLOWMAESTRO_WEBHOOK_SECRET"].split(",")
    try:
        event = construct_event(request.body, request.META, secret, tolerance=3600)
    except WebhookVerificationError as error:
        return JsonResponse({"error": str(error)}, status=400)
    delivery = delivery_id(request.META)
    if delivery in handled:
        return JsonResponse({"event": "handled before"})
    handled.add(delivery)
    return JsonResponse({"event": event["event"]})


urlpatterns = [path("hook", hook)]
app = get_wsgi_application()

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
