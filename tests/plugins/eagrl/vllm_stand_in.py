"""A server that keeps vLLM's protocol for LoRA adapters: it reads the files with peft and samples from the model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

MAX_RANK = 16


class Refused(Exception):
    """An error in vLLM's form."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": None, "code": status}}


class VLLMStandIn:
    """Serves a base model and the adapters that it is told to load.

    Args:
        base: Model folder.
        updating: Whether VLLM_ALLOW_RUNTIME_LORA_UPDATING is set.
        changed: Changes an answer of `completions`.

    Attributes:
        adapters: Path of each adapter held, by name.
        versions: For each adapter that was ever loaded, its weights.
        written: For each request the adapter's name, the prompt and the sampled texts, as tokens.
        before: Called before each request with its path; a test may break things there.
    """

    def __init__(
        self,
        base: Path,
        *,
        updating: bool = True,
        changed: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer,
    ) -> None:
        self.base, self.updating, self.changed = base, updating, changed
        self.adapters: dict[str, str] = {}
        self.versions: dict[str, dict[str, torch.Tensor]] = {}
        self.written: list[tuple[str, list[int], list[list[int]]]] = []
        self.requests: list[dict[str, Any]] = []
        self.before: Callable[[str], None] = lambda path: None
        self._model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._respond({})

            def do_POST(self) -> None:
                self._respond(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _respond(self, body: dict[str, Any]) -> None:
                path = self.path.removeprefix("/v1/")
                server.before(path)
                if getattr(server, "dies", False):
                    self.connection.close()
                    return
                try:
                    with server._lock:
                        status, answer = 200, server._answer(path, body)
                except Refused as error:
                    status, answer = error.status, error.body
                except KeyError:
                    status, answer = 404, {"detail": "Not Found"}
                content = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None: ...

        return Handler

    def _answer(self, path: str, body: dict[str, Any]) -> Any:
        routes = {"models": self._models, "completions": self._completions}
        if self.updating:
            routes |= {"load_lora_adapter": self._load, "unload_lora_adapter": self._unload}
        return routes[path](body)

    def _models(self, _: dict[str, Any]) -> Any:
        cards = [{"id": "base", "root": str(self.base), "parent": None}]
        cards += [{"id": name, "root": path, "parent": "base"} for name, path in self.adapters.items()]
        return {"object": "list", "data": cards}

    def _load(self, body: dict[str, Any]) -> str:
        name, path = body["lora_name"], body["lora_path"]
        if name in self.adapters:
            raise Refused(400, "InvalidUserInput", f"The lora adapter '{name}' has already been loaded.")
        if not Path(path, "adapter_config.json").is_file():
            raise Refused(404, "NotFoundError", f"Loading lora {name} failed: No adapter found for {path}")
        if json.loads(Path(path, "adapter_config.json").read_text())["r"] > MAX_RANK:
            raise Refused(400, "BadRequestError", f"LoRA rank is greater than max_lora_rank {MAX_RANK}")
        key = name.replace(".", "_")
        if isinstance(self._model, PeftModel):
            self._model.load_adapter(path, adapter_name=key)
        else:
            self._model = PeftModel.from_pretrained(self._model, path, adapter_name=key)
        weights = {n: p.detach().clone() for n, p in self._model.named_parameters() if f".{key}." in n}
        self.adapters[name] = path
        self.versions[name] = {n.replace(key, ""): p for n, p in weights.items()}
        return f"Success: LoRA adapter '{name}' added successfully."

    def _unload(self, body: dict[str, Any]) -> str:
        if body["lora_name"] not in self.adapters:
            raise Refused(404, "NotFoundError", f"The lora adapter '{body['lora_name']}' cannot be found.")
        del self.adapters[body["lora_name"]]
        return f"Success: LoRA adapter '{body['lora_name']}' removed successfully."

    def _completions(self, body: dict[str, Any]) -> Any:
        name = body["model"]
        if name not in self.adapters:
            raise Refused(404, "NotFoundError", f"The model `{name}` does not exist.")
        self.requests.append(body)
        self._model.set_adapter(name.replace(".", "_"))
        texts = self._sample(body)
        self.written.append((name, body["prompt"], texts))
        choices = [
            {
                "index": i,
                "text": "",
                "finish_reason": "stop" if tokens[-1] in body["stop_token_ids"] else "length",
                "prompt_token_ids": body["prompt"],
                "token_ids": tokens,
            }
            for i, tokens in enumerate(texts)
        ]
        return self.changed({"model": name, "choices": choices[::-1]})

    @torch.no_grad()
    def _sample(self, body: dict[str, Any]) -> list[list[int]]:
        draws = torch.Generator().manual_seed(body["seed"])
        rows = torch.tensor([body["prompt"]] * body["n"])
        texts: list[list[int]] = [[] for _ in rows]
        for _ in range(body["max_tokens"]):
            logits = self._model(rows).logits[:, -1] / body["temperature"]
            token = torch.multinomial(logits.softmax(dim=-1), 1, generator=draws)
            rows = torch.cat([rows, token], dim=1)
            for text, new in zip(texts, token[:, 0].tolist(), strict=True):
                if not text or text[-1] not in body["stop_token_ids"]:
                    text.append(new)
            if all(text[-1] in body["stop_token_ids"] for text in texts):
                break
        return texts
