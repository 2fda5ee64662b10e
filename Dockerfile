# AudioLM on a CPU:  docker build -t audiolm .
#                    docker run --rm -v "$PWD:/work" audiolm continue prompt.wav -o out.wav
#                    docker run --rm -p 8000:8000 audiolm serve --host 0.0.0.0
FROM python:3.13-slim

RUN pip install --no-cache-dir "torch>=2.6" --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE /src/
COPY src /src/src
RUN pip install --no-cache-dir "/src[page]" && useradd --create-home --uid 1000 user

USER 1000
WORKDIR /work
ENTRYPOINT ["audiolm"]
CMD ["--help"]
