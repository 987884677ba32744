// A page that came from `evomoe ... --live` asks for newer data when the server says that there are some.

function followServer(show) {
  const status = document.getElementById('live');
  const address = name => name + location.search;
  status.hidden = false;
  const say = text => { status.textContent = text; };
  let loading = false, again = false;
  const load = async () => {
    again = true;
    if (loading || document.hidden) return;
    loading = true;
    try {
      while (again) {
        again = false;
        const answer = await fetch(address('data.json'), {cache: 'no-store'});
        if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
        show(await answer.json());
        say(`Live: as of ${new Date().toLocaleTimeString()}`);
      }
    } catch (error) {
      say(`Not up to date: ${error.message}`);
    } finally {
      loading = false;
    }
  };
  const events = new EventSource(address('events'));
  events.addEventListener('changed', load);
  events.addEventListener('problem', event => say(event.data));
  events.addEventListener('end', () => {
    events.close();
    say('The run has ended, and its server with it. The page stays as it is.');
  });
  events.onerror = () => say('The server does not answer; the page stays as it is, and tries again.');
  document.addEventListener('visibilitychange', () => { if (!document.hidden && again) load(); });
}
