// Keeps the list up to date. The server renders, and so escapes, each mail; this only asks every
// second whether there are others, and moves the new ones over without touching those on display.
const list = document.getElementById("mails");
const news = document.getElementById("news");
let shown = null;

function inLocalTime(root) {
  for (const time of root.querySelectorAll("time")) {
    time.textContent = new Date(time.dateTime).toLocaleString();
  }
}

function merge(fresh) {
  for (const old of [...list.children]) {
    if (!fresh.querySelector("#" + old.id)) old.remove();
  }
  for (const mail of [...fresh.children].reverse()) {
    if (!document.getElementById(mail.id)) list.prepend(document.adoptNode(mail));
  }
  inLocalTime(list);
}

function announce(mail) {
  news.textContent = `New mail to ${mail.to.join(", ")}` + (mail.code ? `, code ${mail.code}` : "");
}

async function refresh() {
  const mails = await (await fetch("/mails.json")).json();
  const now = mails.map((mail) => mail.id).join();
  if (now === shown) return;
  const page = await (await fetch("/")).text();
  merge(new DOMParser().parseFromString(page, "text/html").getElementById("mails"));
  if (shown !== null && mails.length > 0) announce(mails[0]);
  shown = now;
}

async function follow() {
  // A server that is being restarted is asked again like any other.
  await refresh().catch(() => {});
  setTimeout(follow, 1000);
}

document.getElementById("clear").addEventListener("click", async () => {
  await fetch("/mails", { method: "DELETE" });
  await refresh();
});
inLocalTime(document);
follow();
