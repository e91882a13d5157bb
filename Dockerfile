# The image that Cytomine runs. With a GPU, or for the workers of a cluster:
# --build-arg REQUIREMENTS=requirements-gpu.lock or requirements-cluster.lock
FROM python:3.11-slim-bookworm

ARG REQUIREMENTS=requirements.lock

# A virtual environment, so that the base's own packages are left alone.
COPY requirements.lock requirements-gpu.lock requirements-cluster.lock /tmp/
RUN python -m venv /opt/instruments \
    && /opt/instruments/bin/pip install --no-cache-dir --require-hashes -r /tmp/$REQUIREMENTS \
    && rm /tmp/requirements*.lock
ENV PATH=/opt/instruments/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

COPY descriptor.json run.py LICENSE /app/
COPY annotator /app/annotator
COPY training /app/training
# Singularity runs as the cluster's user, not as root, on a read-only file system.
RUN chmod -R a+rX /app /opt/instruments \
    && cd /app && python -c "from annotator.models import builtin; print(builtin.load().version)" \
    && python -c "import training.feedback, training.champion, training.style.stylise"
# The working directory is the cluster's, so nothing may depend on it.
ENTRYPOINT ["python", "/app/run.py"]
