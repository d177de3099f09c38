// The page of a window. It asks while the window lives and stops asking when it is told that it has ended: a page that
// somebody forgot in a tab must not knock at a gateway for days.
const TRIES_MS = [500, 1000, 2000, 4000, 8000, 16000];
const SILENCE_MS = 6000; // three missed beats: dropped packets show as nothing at all
const CAUSES = {
  closed: "It was closed.",
  deadline: "Its time was over.",
  disabled: "Streaming was disabled on this gateway.",
  "capability-gone": "You may not watch this camera any more.",
  "nobody-joined": "Nobody watched.",
  "last-viewer-gone": "Nobody watched any more.",
  exposure: "Something else was listening on the gateway.",
  "not-vpn-only": "The gateway was not reachable by VPN alone any more.",
  "agent-stopped": "The gateway's agent was stopped.",
};

const $ = (id) => document.getElementById(id);
const feeds = new Map(); // camera -> {connection, video, note}
let source = null;
let page = null;
let over = false;
let tries = 0;
let ends = 0;
let silence = 0;

function show(state, text) {
  document.body.dataset.state = state;
  $("banner").textContent = text;
}

function countdown() {
  if (over || !ends) return;
  const left = Math.max(0, Math.round((ends - performance.now()) / 1000));
  $("left").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
}
setInterval(countdown, 500);

function listen() {
  source = new EventSource("/events");
  heard();
  source.addEventListener("page", (event) => { page = event.data; tries = 0; heard(); });
  source.addEventListener("beat", heard);
  source.onmessage = (event) => { heard(); news(JSON.parse(event.data)); };
  source.onerror = lost; // never the browser's own retry: it has no end
}

function heard() {
  clearTimeout(silence);
  silence = setTimeout(lost, SILENCE_MS);
}

function hush() {
  clearTimeout(silence);
  if (source) source.close();
  source = null;
  for (const feed of feeds.values()) { if (feed.connection) feed.connection.close(); feed.connection = null; }
}

function lost() {
  if (over) return;
  hush();
  if (tries >= TRIES_MS.length) {
    over = true;
    show("lost", "The connection is lost, or the window has ended. Reload the page to ask once more.");
    return;
  }
  const wait = TRIES_MS[tries++] * (0.75 + Math.random() / 2);
  show("lost", "The connection is lost; trying again …");
  setTimeout(() => { if (!over) listen(); }, wait);
}

function news(now) {
  document.title = `${now.site} · Sightglass`;
  $("site").textContent = now.site;
  ends = performance.now() + now.remaining_s * 1000;
  countdown();
  if (now.state === "ended") {
    over = true;
    hush();
    $("left").textContent = "";
    const cause = CAUSES[now.cause] || (now.cause ? `Cause: ${now.cause}.` : "");
    show("ended", `The window has ended. ${cause}${now.why ? ` (${now.why})` : ""}`);
    return;
  }
  if (now.state === "suspended") show("suspended", `No picture for now: ${now.why || "the lane is not known to be safe"}`);
  else show("open", now.purpose === "debug" ? "Open, traffic may pass: nobody belongs into the lane." : "Open. The lane was safe a moment ago.");
  for (const camera of now.cameras) if (!feeds.has(camera)) add(camera);
  for (const [camera, feed] of feeds) if (!feed.connection) play(camera, feed);
}

function add(camera) {
  const figure = document.createElement("figure");
  const video = document.createElement("video");
  Object.assign(video, { autoplay: true, muted: true, playsInline: true });
  video.dataset.camera = camera;
  const caption = document.createElement("figcaption");
  const name = document.createElement("span");
  name.textContent = camera;
  const note = document.createElement("span");
  caption.append(name, note);
  figure.append(video, caption);
  $("cameras").append(figure);
  feeds.set(camera, { connection: null, video, note });
}

async function play(camera, feed) {
  const connection = new RTCPeerConnection({ iceServers: [] });
  feed.connection = connection;
  feed.note.textContent = "connecting";
  connection.addTransceiver("video", { direction: "recvonly" });
  connection.ontrack = (event) => { feed.video.srcObject = event.streams[0] || new MediaStream([event.track]); };
  connection.onconnectionstatechange = () => {
    if (feed.connection !== connection) return;
    feed.note.textContent = connection.connectionState === "connected" ? "live" : connection.connectionState;
    // The page's own channel says whether the window lives; while it does, a broken connection is made again by it.
    if (connection.connectionState === "failed") lost();
  };
  try {
    await connection.setLocalDescription(await connection.createOffer());
    await gathered(connection);
    const answer = await fetch(`/whep/${camera}`, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", "X-Sightglass-Page": page },
      body: connection.localDescription.sdp,
    });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    const sdp = await answer.text();
    if (feed.connection === connection) await connection.setRemoteDescription({ type: "answer", sdp });
  } catch (error) {
    if (feed.connection !== connection || over) return;
    feed.note.textContent = String(error.message || error);
    lost();
  }
}

function gathered(connection) {
  if (connection.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => { if (connection.iceGatheringState === "complete") resolve(); };
    connection.addEventListener("icegatheringstatechange", done);
    setTimeout(resolve, 1000); // the server finds us by our first packet; our own list is only a help
  });
}

listen();
