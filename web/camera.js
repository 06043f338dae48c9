// The camera, where the browser has one and may use it (a page over https, or on this machine).

const $ = (id) => document.getElementById(id);

/** Shows the camera button where there is a camera; `take` gets each photo as a JPEG Blob. */
export function openCamera(take) {
  if (!navigator.mediaDevices?.getUserMedia) return;
  $("camera").hidden = false;
  $("camera").addEventListener("click", start);
  $("stop").addEventListener("click", stop);
  $("shoot").addEventListener("click", () => shoot(take));
}

async function start() {
  stop(); // a second press must not leave the first picture's camera on
  try {
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    $("camera").textContent = "No camera can be used here; choose a photo instead";
    $("camera").disabled = true;
    return;
  }
  $("shoot").disabled = true; // until there is a picture to take
  $("viewfinder").hidden = false;
  await $("video").play();
  $("shoot").disabled = false;
  $("shoot").focus();
}

function stop() {
  for (const track of $("video").srcObject?.getTracks() ?? []) track.stop();
  $("video").srcObject = null;
  $("viewfinder").hidden = true;
}

function shoot(take) {
  const video = $("video");
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  stop();
  canvas.toBlob((blob) => take(blob), "image/jpeg", 0.92);
}
