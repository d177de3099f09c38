import { CAUSES, SUSPENSIONS } from "/causes.js";

// The page of a window. It asks while the window lives and stops asking when it is told that it has ended: a page that
// somebody forgot in a tab must not knock at a gateway for days.
const TRIES_MS = [500, 1000, 2000, 4000, 8000, 16000];
const SILENCE_MS = 6000; // three missed beats: dropped packets show as nothing at all
// For so long every picture has to hold before the tries count from nought again. The channel alone says nothing: a page
// whose offers all fail would ask for as long as the window lasts, and each round is a "joined" and a "left" on record.
const STEADY_MS = 10000;

const $ = (id) => document.getElementById(id);
const feeds = new Map(); // camera -> {connection, video, note}
let source = null;
let page = null;
let over = false;
let tries = 0;
let ends = 0;
let silence = 0;
let steady = 0;

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
  source.addEventListener("page", (event) => { page = event.data; heard(); });
  source.addEventListener("beat", heard);
  source.onmessage = (event) => { heard(); news(JSON.parse(event.data)); };
  source.onerror = () => lost(); // never the browser's own retry: it has no end
}

function heard() {
  clearTimeout(silence);
  silence = setTimeout(() => lost(), SILENCE_MS);
}

function hush() {
  clearTimeout(silence);
  clearTimeout(steady);
  if (source) source.close();
  source = null;
  for (const feed of feeds.values()) { if (feed.connection) feed.connection.close(); feed.connection = null; }
}

function lost(fault) {
  if (over) return;
  hush();
  if (tries >= TRIES_MS.length) {
    giveUp(fault ? `No picture came: ${fault}.` : "The connection is lost, the window has ended, or too many of its pages are open.");
    return;
  }
  const wait = TRIES_MS[tries++] * (0.75 + Math.random() / 2);
  show("lost", "The connection is lost; trying again …");
  setTimeout(() => { if (!over) listen(); }, wait);
}

// One more try has to be a person's wish.
function giveUp(text) {
  over = true;
  $("left").textContent = "";
  $("again").hidden = false;
  show("lost", text);
}

function words(table, now) {
  const sentence = table[now.cause] || (now.cause ? `Cause: ${now.cause}.` : "");
  return `${sentence}${now.why ? ` (${now.why})` : ""}`;
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
    show("ended", `${now.whole ? "The window has ended. " : ""}${words(CAUSES, now)}`);
    return;
  }
  if (now.state === "suspended") show("suspended", `No picture for now. ${words(SUSPENSIONS, now)}`);
  else show("open", now.purpose === "debug" ? "Open. Traffic may pass: stay out of the lane." : "Open. The lane was safe a moment ago.");
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
    clearTimeout(steady);
    if ([...feeds.values()].every((each) => each.connection && each.connection.connectionState === "connected")) {
      steady = setTimeout(() => { tries = 0; }, STEADY_MS);
    }
    // The page's own channel says whether the window lives; while it does, a broken connection is made again by it.
    if (connection.connectionState === "failed") lost("the connection for it failed");
  };
  try {
    await connection.setLocalDescription(await connection.createOffer());
    await gathered(connection);
    if (feed.connection !== connection || over) return; // else it would offer in the name of the page that came after
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
    lost(error.message || String(error));
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

if (navigator.cookieEnabled) listen();
else giveUp("This page needs a cookie to know itself by. Allow cookies for this address.");
