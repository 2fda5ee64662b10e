# AudioLM on a CPU:  docker build -t audiolm .
#                    docker run --rm -v "$PWD:/work" audiolm continue prompt.wav -o out.wav
FROM python:3.13-slim

RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE /src/
COPY src /src/src
RUN pip install --no-cache-dir "/src[page]" && useradd --create-home user

USER user
WORKDIR /work
ENTRYPOINT ["audiolm"]
CMD ["--help"]
