"""What each PiAPI model puts into `output`, by the published pages; field names differ from model to model."""

from collections.abc import Callable
from typing import Any

Output = dict[str, Any]
# kind of file ("png", "mp4", …) -> the address of a new one
NewFile = Callable[[str], str]

PLAIN_VIDEO = {"kling-turbo", "sora2", "veo3", "veo3.1", "seedance", "omni-human", "Wan"}
VIDEO_URL = {"Qubico/wanx", "Qubico/hunyuan", "Qubico/skyreels", "Qubico/framepack", "Qubico/hug-video",
             "Qubico/mmaudio", "Qubico/video-toolkit"}  # fmt: skip
AUDIO = {"Qubico/tts", "Qubico/diffrhythm", "Qubico/ace-step"}
KLING_DONE = 99  # an integer called "status" that is not the task's status


def finished_output(model: str, task_type: str, count: int, new: NewFile) -> Output:
    if model == "kling":
        return _try_on(new) if task_type == "ai_try_on" else _kling(task_type, new)
    if model == "hailuo":
        video_url = new("mp4")
        return {"video_url": video_url, "download_url": video_url, "cover_url": new("png"), "percent": 100, "status": 2}
    if model == "luma":
        video = {"url": new("mp4"), "width": 1360, "height": 752, "thumbnail": None}
        stills = {"thumbnail": {"url": new("png")}, "last_frame": {"url": new("png")}}
        return {"state": "completed", "video": video, "video_raw": {"url": new("mp4")}, **stills}
    if model in PLAIN_VIDEO:
        return {"video": new("mp4")}
    if model in VIDEO_URL:
        return {"video_url": new("mp4")}
    if model in AUDIO:
        return {"audio_url": new("wav")}
    if model.startswith("Qubico/trellis"):
        return {"model_file": new("glb"), "combined_video": new("mp4"), "no_background_image": new("png")}
    if model == "Qubico/joycaption":
        return {"text": "A small coloured square."}
    if model in {"music-u", "music-s"}:
        return _music(model, task_type, new)
    if model == "midjourney":
        urls = [new("png") for _ in range(4)]
        return {"image_url": new("png"), "image_urls": None, "temporary_image_urls": urls, "task_progress": 100,
                "intermediate_image_urls": None, "actions": ["upscale1", "variation1", "reroll"]}  # fmt: skip
    if count > 1:
        return {"image_url": "", "image_urls": [new("png") for _ in range(count)], "image_base64": ""}
    return {"image_url": new("png"), "image_base64": ""}


def open_output(model: str) -> Output | None:
    """Some models fill `output` before there is anything in it."""
    if model == "hailuo":
        return {"video_url": "", "download_url": "", "cover_url": "", "percent": 10, "status": 1}
    if model == "luma":
        return {"state": "processing", "video": None, "video_raw": None, "thumbnail": None, "last_frame": None}
    return None


def blank(value: Any) -> Any:
    """The same shape with nothing in it."""
    if isinstance(value, dict):
        return {key: blank(item) for key, item in value.items()}
    if isinstance(value, list):
        return []
    return "" if isinstance(value, str) else value


def _kling(task_type: str, new: NewFile) -> Output:
    clean = new("mp4")
    marked = new("mp4")
    video = {"resource": marked, "resource_without_watermark": clean, "width": 1440, "height": 1440, "duration": 5100}
    cover = {"resource": new("png"), "resource_without_watermark": "", "width": 1440, "height": 1440, "duration": 0}
    work = {"status": KLING_DONE, "type": task_type, "cover": cover, "video": video}
    return {"type": task_type, "status": KLING_DONE, "works": [work], "video_url": marked}


def _try_on(new: NewFile) -> Output:
    image = {"resource": new("png"), "resource_without_watermark": new("png"), "width": 768, "height": 1024}
    return {"type": "ai_try_on", "status": KLING_DONE, "works": [{"status": KLING_DONE, "image": image}]}


def _music(model: str, task_type: str, new: NewFile) -> Output:
    if task_type == "generate_lyrics":
        return {"lyrics_pairs": [{"title": "Sand", "text": "La la la"}]}
    if model == "music-s":
        return {"clips": {"1": {"audio_url": new("wav"), "image_url": new("png")}}}
    return {"songs": [{"title": "Sand", "song_path": new("wav"), "image_path": new("png")}]}
